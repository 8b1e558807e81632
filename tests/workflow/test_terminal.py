"""What a person sees of `make report`: the figures as they come, the answer, and why it failed."""

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from tests.mounts import fill, mounted
from tests.servers.honest import HonestServer
from tests.workflow.checkout import Checkout

NOBODY = 65534
GONE = "http://127.0.0.1:9"
"""Nothing listens there."""
OF_SNAKEMAKE = ("Traceback", "RuleException", "WorkflowError", "Error in rule", "Error 1")


def config(name, url, **more):
    """A sweep of a running server, in the environment of the tests."""
    return {
        "name": name,
        "environment": {"manager": "current"},
        "models": {"m": {}},
        "server": {"url": url},
        "run": {"iters": 6, "max_tokens": 4, "warmup": 0},
        "sweep": {"inflight": [1, 2], "ranks": [1]},
        "repeats": 1,
    } | more


@pytest.fixture(scope="module")
def here():
    """A checkout without results, environments of its own, and a config, which all may read.

    It isn't in pytest's folder, which each start of pytest makes its owner's alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Checkout(Path(folder))


def report(checkout, *options, file="config.yaml"):
    return checkout.report("--config", file, *options)


def make(checkout, *options, variables=None, **keywords):
    # The tests may run below a make, whose options are in these
    of_make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    environment = {name: value for name, value in os.environ.items() if name not in of_make}
    return subprocess.run(
        ["make", "report", *options],
        cwd=checkout.folder,
        env=environment | (variables or {}),
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
        **keywords,
    )


def lines(process):
    text = process.stdout + process.stderr
    assert not [word for word in OF_SNAKEMAKE if word in text], text
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def good(here):
    """(process, config) of a sweep that went well, whose results are there from then on."""
    with HonestServer() as server:
        data = config("good", f"http://127.0.0.1:{server.server_address[1]}")
        here.write(data)
        # the other tests call it without a start of Python
        process = subprocess.run(
            [sys.executable, "workflow/launcher", "--cores", "2", "--config", "config.yaml"],
            cwd=here.folder,
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        yield process, data


def test_a_line_for_each_repeat_and_the_answer_at_the_end(here, good):
    said = lines(good[0])
    repeats = [line for line in said if " repeat 1: " in line]
    assert len(repeats) == 2
    for inflight, line in zip(
        (1, 2), sorted(repeats, key=lambda x: x.index("inflight")), strict=True
    ):
        assert "tokens/s, p95 " in line and "inflight " in line, (inflight, line)
    assert "(2 of 2)" in repeats[-1]
    answer = (here.results / "sweeps" / "good" / "answer.txt").read_text()
    assert "tokens/s" in answer.splitlines()[0]
    assert "\n".join(said).endswith(
        f"{answer}Page: results/report.html, which stays as results/sweeps/good/report.html"
    )
    assert len(said) == len(set(said))


def test_nothing_to_do_says_the_answer_again(here, good):
    here.write(good[1])
    process = report(here)
    assert process.returncode == 0
    assert (
        lines(process)[0].startswith("Nothing to do")
        and lines(process)[1:] == lines(good[0])[-len(lines(process)) + 1 :]
    )


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def top(checkout):
    """The files at the top of results that are of the last sweep with results."""
    names = ("report.html", "summary.csv", "summary.parquet", "cells.csv", "cells.parquet")
    return {name: (checkout.results / name).read_bytes() for name in names}


def test_a_failed_probe_starts_no_run_and_is_one_sentence_at_the_end(here, good):
    """Once 150 lines, and a page without one result in the place of the good one."""
    before, runs = top(here), content(here.results / "runs")
    here.write(config("down", GONE, models={"lost": {}}))
    process = report(here)
    assert process.returncode == 1
    said = lines(process)
    assert len(said) <= 10
    assert "can't be reached: connection refused" in said[-1]
    assert said[-2] == "The probe of lost failed; log: results/logs/probe/lost.log"
    log = here.results / "logs" / "probe" / "lost.log"
    assert said[-1].split("Server ")[-1] in log.read_text()
    assert content(here.results / "runs") == runs
    assert top(here) == before


def test_one_of_two_models_whose_probe_fails_does_not_stop_the_other(here, good):
    url = good[1]["server"]["url"]
    data = config("two", url, models={"m": {}, "gone": {"server": {"url": GONE}}})
    data["sweep"]["model"] = ["m", "gone"]
    here.write(data)
    process = report(here)
    assert process.returncode == 1
    assert "2 of 4 repeats have a result: results/sweeps/two/report.html" in process.stderr
    assert "connection refused" in lines(process)[-1]
    assert (here.results / "report.html").read_bytes() == (
        here.results / "sweeps" / "two" / "report.html"
    ).read_bytes()


def test_each_sweep_keeps_its_page_and_the_last_one_is_at_the_top(here, good):
    other = config("other", good[1]["server"]["url"], title="Another")
    here.write(other)
    assert report(here).returncode == 0
    mine = content(here.results / "sweeps" / "good")
    runs = content(here.results / "runs")
    assert b"Another" in (here.results / "report.html").read_bytes()
    here.write(good[1])
    assert report(here).returncode == 0
    assert top(here) == {
        name: (here.results / "sweeps" / "good" / name).read_bytes() for name in top(here)
    }
    assert content(here.results / "sweeps" / "good") == mine
    assert content(here.results / "runs") == runs
    assert b"Another" in (here.results / "sweeps" / "other" / "report.html").read_bytes()


def test_a_failed_probe_leaves_stale_results_alone(here, good):
    """Snakemake removes what a run is to make anew as soon as it starts the run."""
    runs = content(here.results / "runs" / "name~good")
    data = config("good", GONE)
    here.write(data)
    assert report(here).returncode == 1
    assert content(here.results / "runs" / "name~good") == runs
    here.write(good[1])
    process = here.snakemake("--", "aggregate")  # the server of before is asked again
    assert process.returncode == 0, process.stdout + process.stderr
    assert {path: runs[path] for path in runs if path.name == "run.json"} == {
        path: path.read_bytes() for path in runs if path.name == "run.json"
    }


def test_a_repeat_that_fails_in_mid_sweep_is_said_last(here, good):
    data = config("mid", good[1]["server"]["url"])
    data["sweep"] = {"inflight": [1], "ranks": [1], "timeout_s": [600, 0.001]}
    here.write(data)
    process = report(here)
    assert process.returncode == 1
    said = lines(process)
    assert len(said) <= 10
    assert [line for line in said if line.startswith("✗ timeout_s 0.001, repeat 1: failed")]
    assert "1 of 2 repeats have a result: results/sweeps/mid/report.html" in said[-3]
    assert said[-2].startswith("1 repeat failed; log: results/logs/name~mid/")
    failure = next((here.results / "runs" / "name~mid").rglob("failure.json"))
    assert said[-1] == json.loads(failure.read_text())["message"]
    # it is shown, and measured again
    with (here.results / "summary.csv").open(newline="") as stream:
        by_timeout = {row["timeout_s"]: row for row in csv.DictReader(stream)}
    assert by_timeout["600"]["status"] == "ok"
    assert by_timeout["0.001"]["status"] == "failed"
    assert "timeout" in by_timeout["0.001"]["message"]
    assert "None of 6 requests succeeded" in (here.results / "report.html").read_text()
    assert here.plan() == {"run": 1, "aggregate": 1, "page": 1, "latest": 1}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["CONFIG=nope.yaml"], "CONFIG=nope.yaml: there is no such file"),
        (["CONFIG=config"], "CONFIG=config is a folder"),
        (["CONFIG=unreadable.yaml"], "CONFIG=unreadable.yaml can't be read"),
        (["CORES=0"], "CORES=0: expected a whole number from 1, or all"),
        (["CORES=many"], "CORES=many: expected"),
        ([f"SERVER={GONE}"], f"SERVER={GONE} can't be reached: connection refused"),
        (["SERVER=localhost:8080"], "expected a URL such as http://127.0.0.1:8080"),
        ([f"SERVER={GONE}", "CONFIG=config/config.yaml"], "Give SERVER or CONFIG, not both"),
        (
            [f"SERVER={GONE}", "KEY_ENV=NO_SUCH"],
            "KEY_ENV=NO_SUCH: this environment variable is not",
        ),
        (["MODEL=gemma"], "MODEL and KEY_ENV go with SERVER=URL"),
    ],
)
def test_a_wrong_call_is_one_sentence_before_anything_is_built(here, options, sentence):
    unreadable = here.folder / "unreadable.yaml"
    unreadable.write_text("name: x\n")
    unreadable.chmod(0)
    process = make(here, *options, **({"user": NOBODY} if os.getuid() == 0 else {}))
    assert process.returncode != 0
    assert len(lines(process)) == 1 and sentence in process.stderr
    assert not (here.folder / ".venv").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [a\n b: {", "is not valid YAML near line"),
        ("hello", "expected keys such as `models`"),
        ("", "The config is empty"),
        ("models: {m: {}}\nrunn: {}\n", "did you mean 'run'?"),
    ],
)
def test_a_config_that_is_none_is_one_sentence(here, text, sentence):
    (here.folder / "wrong.yaml").write_text(text)
    process = report(here, file="wrong.yaml")
    assert process.returncode == 1
    assert len(lines(process)) == 1 and sentence in process.stderr


def test_two_sweeps_of_one_name_are_one_sentence(here, good):
    before = content(here.results / "sweeps" / "good")
    rival = here.folder / "rival.yaml"
    rival.write_text(yaml.safe_dump(good[1] | {"repeats": 3}))
    here.write(good[1])
    process = report(here, file="rival.yaml")
    assert process.returncode == 1
    assert (
        len(lines(process)) == 1 and "also the name of the sweep of config.yaml" in process.stderr
    )
    assert content(here.results / "sweeps" / "good") == before
    here.write(good[1] | {"title": "The same file may change"})
    assert here.plan()["page"] == 1  # else it would be refused


def test_a_full_disk_is_one_sentence(here, good, tmp_path):
    with mounted(tmp_path / "small", "size=4m"):
        fill(tmp_path / "small")
        here.write(config("full", good[1]["server"]["url"], results=f"{tmp_path}/small/results"))
        process = report(here)
    assert process.returncode == 1
    assert len(lines(process)) == 1 and "free some space" in process.stderr


def test_no_package_index_is_one_sentence(here):
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_NO_CACHE_DIR": "1"}
    offline |= {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "1", "PIP_EXTRA_INDEX_URL": ""}
    process = make(here, variables=offline)
    assert process.returncode != 0
    assert lines(process)[:-1] == ["Building .venv"]
    assert "no package index can be reached: check the network" in lines(process)[-1]
    assert lines(process)[-1].endswith("log: .venv.log")
