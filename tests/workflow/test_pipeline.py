"""From a config to the page, on a real model served by real llama.cpp."""

import copy
import csv
import json
import subprocess

import jsonschema
import pytest
from tests.workflow.checkout import BUILT, ROOT

from mls.config.axes import cell_key
from mls.config.cells import cells, run_order, run_path
from mls.config.parse import load_config
from mls.host.machine import usable_cores
from mls.host.pinning import CORES_FOR_EACH_RANK

ALL = {"environment", "model", "probe", "run", "aggregate", "page", "latest"}


@pytest.fixture
def checkout(complete_built_checkout):
    return complete_built_checkout


@pytest.fixture
def small(checkout):
    return copy.deepcopy(BUILT)


def start_utc(run):
    return run["clock"]["started_utc"]


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_leaves_the_files_of_the_contract(checkout, small):
    config = load_config(checkout.folder / "config.yaml")
    schema = json.loads((ROOT / "workflow" / "schemas" / "run.schema.json").read_text())
    for cell in cells(config):
        folder = checkout.results / "runs" / run_path(config, cell, 1)
        result = json.loads((folder / "run.json").read_text())
        jsonschema.validate(result, schema)
        assert result["cell"] == cell
        run = BUILT["run"]
        assert result["summary"]["requests"]["ok"] == run["iters"]
        assert result["summary"]["tokens"]["completion"] == run["iters"] * run["max_tokens"]
        assert result["environment"]["digest"]
        assert (folder / "requests.parquet").exists()
        if usable_cores() < CORES_FOR_EACH_RANK * cell["ranks"]:
            pin = result["host"]["pinned"]
            assert (pin["server"], pin["ranks"]) == (None, None)
            assert f"there are {usable_cores()}" in pin["why"]
            assert pin["why"] in (checkout.results / "report.html").read_text()
    assert len(rows(checkout.results / "summary.csv")) == 2
    assert len(rows(checkout.results / "cells.csv")) == 2
    assert (checkout.results / "environment" / "environment.json").exists()
    assert (checkout.results / "probe" / "smollm2.json").exists()
    assert "<svg" in (checkout.results / "report.html").read_text()
    for tool in ("mls", "mpirun", "python"):
        assert (checkout.folder / ".venv-run" / "bin" / tool).exists()


def test_concurrency_is_what_was_asked(checkout, small):
    for row in rows(checkout.results / "summary.csv"):
        # how soon a free place sends again depends on the machine; see tests/mpi
        assert int(row["inflight.max"]) == int(row["inflight"])
        assert 0 < float(row["inflight.achieved_time_weighted"]) <= int(row["inflight"])


def test_a_second_run_does_nothing(checkout, small):
    assert checkout.plan() == {}


def test_a_new_value_measures_only_what_is_new(checkout, small):
    small["sweep"]["inflight"] = [1, 2, 3]
    checkout.write(small)
    assert checkout.plan()["run"] == 1


def test_a_deleted_repeat_is_measured_again(checkout, small):
    folder = checkout.results / "runs" / "name~small" / "model~smollm2" / "inflight~2"
    aside = folder.rename(folder.with_name("aside"))
    try:
        assert checkout.plan()["run"] == 1
    finally:
        aside.rename(folder)


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        (lambda c: c["server"].update(parallel=2), 2),
        (lambda c: c["run"].update(max_tokens=9), 2),
        (lambda c: c.update(seed=2), 2),
        (lambda c: c.update(title="Another headline"), 0),
        (lambda c: c.update(checks={"error_rate": 0.5}), 0),
        (lambda c: c.update(price={"per_hour": 2.5}), 0),
    ],
)
def test_changed_settings_measure_again_what_depends_on_them(checkout, small, change, runs):
    change(small)
    checkout.write(small)
    assert checkout.plan().get("run", 0) == runs


@pytest.mark.parametrize(
    ("file", "rules"),
    [
        ("workflow/mls/load/transport/epoll.py", {"probe", "run", "aggregate", "page", "latest"}),
        ("workflow/mls/report/pages/page.py", {"page", "latest"}),
        ("requirements/run.txt", ALL),
    ],
)
def test_changed_code_and_locks_rerun_what_depends_on_them(checkout, small, file, rules):
    path = checkout.folder / file
    original = path.read_text()
    path.write_text(original + "\n# changed\n")
    try:
        assert set(checkout.plan()) == rules
    finally:
        path.write_text(original)


def test_a_failed_cell_is_shown_and_measured_again(checkout, small):
    small["name"] = "failing"
    del small["sweep"]["inflight"]
    small["run"]["inflight"] = 2
    small["sweep"] |= {"timeout_s": [600, 0.001], "ranks": [1]}
    checkout.write(small)
    process = checkout.snakemake()
    assert process.returncode != 0
    by_timeout = {row["timeout_s"]: row for row in rows(checkout.results / "summary.csv")}
    assert by_timeout["600"]["status"] == "ok"
    assert by_timeout["0.001"]["status"] == "failed"
    assert "timeout" in by_timeout["0.001"]["message"]
    assert "None of 4 requests succeeded" in (checkout.results / "report.html").read_text()
    assert checkout.plan() == {"run": 1, "aggregate": 1, "page": 1, "latest": 1}


def test_repeats_are_interleaved_over_cells_in_the_seeded_order(built_checkout):
    checkout, small = built_checkout, copy.deepcopy(BUILT)
    small["name"] = "ordered"
    small["repeats"] = 2
    small["run"]["iters"] = 2
    small["sweep"]["ranks"] = [1]
    checkout.write(small)
    assert checkout.snakemake().returncode == 0
    paths = (checkout.results / "runs" / "name~ordered").rglob("run.json")
    results = sorted((json.loads(path.read_text()) for path in paths), key=start_utc)
    order = run_order(load_config(checkout.folder / "config.yaml"))
    assert [(cell_key(run["cell"]), run["repeat"]) for run in results] == order
    assert [repeat for _, repeat in order] == [1, 1, 2, 2]


def test_two_configs_do_not_overwrite_each_other(checkout, small):
    assert checkout.snakemake().returncode == 0
    assert len(rows(checkout.results / "summary.csv")) == 2
    assert len(list((checkout.results / "runs").glob("name~failing/**/run.json"))) == 1


def test_a_misspelt_key_is_one_sentence_before_anything_runs(checkout, small):
    small["run"]["inflght"] = 2
    checkout.write(small)
    process = checkout.snakemake()
    assert process.returncode == 1
    sentences = [line for line in process.stderr.splitlines() if line.startswith("Config: ")]
    assert len(sentences) == 1 and "did you mean 'inflight'?" in sentences[0]
    assert "Traceback" not in process.stderr and "common.smk" not in process.stderr


def test_an_archive_is_measured_again_and_compared(checkout, small):
    assert checkout.plan() == {}
    mls = str(checkout.folder / ".venv-run" / "bin" / "mls")

    def call(*arguments):
        process = subprocess.run(
            [mls, *arguments], cwd=checkout.folder, capture_output=True, text=True, timeout=300
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process

    archive = call("archive", "--config", "config.yaml").stdout.strip()
    reproduced = call("reproduce", archive, "--results", "again", "--cores", "2")
    output = reproduced.stdout
    again = checkout.folder / "again"
    assert len(list(again.rglob("run.json"))) == 2
    # a single repeat has no interval; the same code and server differ in no recorded fact
    lines = [line for line in output.splitlines() if line.startswith("can't tell")]
    assert len(lines) == 2
    # what `make report` says, not what Snakemake does
    assert reproduced.stderr.count(", repeat 1: ") == 2
    assert "localrule" not in output + reproduced.stderr
    assert "differs: server.build" not in output
    assert "Against the baseline" in (again / "report.html").read_text()
    assert (again / "reproduced.html").exists()
