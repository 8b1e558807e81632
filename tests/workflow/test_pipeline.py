"""From a config to the page, on a real model served by real llama.cpp.

A folder that is moved or copied keeps its results, and gets a new environment. These tests are here
as they need a built environment and results, too. The run environment of a checkout stays when a
second folder uses it.
"""

import copy
import csv
import json
import shutil
import subprocess

import jsonschema
import pytest
from tests.workflow import forked
from tests.workflow.checkout import BUILT, ROOT

from mls.config.cells import cells, run_path
from mls.config.parse import load_config
from mls.host.machine import usable_cores
from mls.host.pinning import CORES_FOR_EACH_RANK

ALL = {"environment", "model", "probe", "run", "aggregate", "page", "latest"}
ONLY_THE_ENVIRONMENT = {"environment_here": 1}
ONLY_WHAT_IS_NEW = {"probe": 1, "run": 1, "aggregate": 1, "page": 1, "latest": 1}


@pytest.fixture
def checkout(complete_built_checkout):
    return complete_built_checkout


@pytest.fixture
def small(checkout):
    return copy.deepcopy(BUILT)


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def at(checkout, folder):
    """The same checkout in another folder."""
    other = copy.copy(checkout)
    other.folder = folder
    return other


def with_one_more_value(checkout):
    config = copy.deepcopy(BUILT)
    config["sweep"]["inflight"] = [1, 2, 3]
    checkout.write(config)


def runs(checkout):
    paths = (checkout.results / "runs").rglob("run.json")
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


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


def test_nothing_that_decides_on_a_rerun_names_the_place(checkout):
    metadata = list((checkout.folder / ".snakemake" / "metadata").iterdir())
    assert len(metadata) > 5
    assert [path for path in metadata if str(checkout.folder) in path.read_text()] == []
    description = json.loads((checkout.results / "models" / "smollm2.json").read_text())
    assert description["path"] == "results/models/smollm2.gguf"


def test_a_renamed_folder_has_nothing_to_do_but_its_environment(checkout):
    other = at(
        checkout,
        checkout.folder.rename(checkout.folder.with_name("renamed")),
    )
    try:
        assert other.plan() == ONLY_THE_ENVIRONMENT
        with_one_more_value(other)
        assert other.plan() == ONLY_THE_ENVIRONMENT | ONLY_WHAT_IS_NEW
    finally:
        other.folder.rename(checkout.folder)
        checkout.reset()
    assert checkout.plan() == {}


def test_a_lost_environment_measures_nothing_again(checkout):
    environment = checkout.folder / ".venv-run"
    aside = environment.rename(checkout.folder / "aside")
    try:
        assert checkout.plan() == ONLY_THE_ENVIRONMENT
    finally:
        aside.rename(environment)


def test_a_copy_works_by_itself_and_measures_only_what_is_new(checkout, tmp_path):
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-a", checkout.folder, folder], check=True)
    second = at(checkout, folder)
    before = runs(second)
    assert second.plan() == ONLY_THE_ENVIRONMENT

    process = second.snakemake()
    assert process.returncode == 0, process.stdout + process.stderr
    assert runs(second) == before
    assert second.plan() == {}
    command = [folder / ".venv-run" / "bin" / "mls", "environment", "--config", "config.yaml"]
    process = subprocess.run([*command, "--output", "description.json"], cwd=folder, check=False)
    assert process.returncode == 0
    description = json.loads((second.results / "environment" / "environment.json").read_text())
    assert description == json.loads((folder / "description.json").read_text())
    assert description["python"]["executable"].startswith(f"{folder}/.venv-run/")

    with_one_more_value(second)
    assert second.plan() == ONLY_WHAT_IS_NEW
    process = second.snakemake()
    assert process.returncode == 0, process.stdout + process.stderr
    assert {path: runs(second)[path] for path in before} == before
    assert checkout.plan() == {}


def test_a_second_folder_leaves_the_run_environment_as_it_is(checkout, tmp_path):
    """Once it was deleted and built anew, though a run could be using it."""
    mark = checkout.folder / ".venv-run" / "mark"
    mark.touch()
    shutil.copy2(checkout.folder / "config.yaml", tmp_path / "config.yaml")
    target = "results/environment/environment.json"
    options = ["--snakefile", str(checkout.folder / "Snakefile"), "--cores", "2"]
    options += ["--configfile", "config.yaml", "--", target]
    process = forked.snakemake(tmp_path, options, timeout_s=300)
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / target).exists()
    assert mark.exists() and not (tmp_path / ".venv-run").exists()
    mark.unlink()


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
