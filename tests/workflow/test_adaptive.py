"""`repeats: auto` and `search`: decisions add runs, and no run is repeated."""

import json
import subprocess
import time

import pytest
from tests.servers.honest import HonestServer
from tests.workflow.checkout import descendants, survivors

from mls.config.axes import cell_key
from mls.config.cells import run_order
from mls.config.decisions import planned_runs
from mls.config.parse import load_config
from mls.report.text.stopping import REASONS


@pytest.fixture
def small(checkout):
    with HonestServer() as server:
        yield {
            "environment": {"manager": "current"},
            "models": {"m": {}},
            "server": {"url": server.url},
            "run": {"iters": 4, "max_tokens": 2, "prompt_words": 4, "warmup": 0},
            "sweep": {"inflight": [1, 2], "ranks": [1]},
            "repeats": 1,
        }
    checkout.reset()


def runs(checkout, name):
    """All results of a sweep, in the order of their starts."""
    paths = (checkout.results / "runs" / f"name~{name}").rglob("run.json")
    return sorted(
        (json.loads(path.read_text()) for path in paths),
        key=lambda run: run["clock"]["started_utc"],
    )


def test_repeats_are_added_in_blocks_until_there_are_enough(checkout, small):
    small |= {"name": "auto", "repeats": "auto"}
    small["precision"] = {"min": 2, "max": 3, "width": 1e-6}
    checkout.write(small)
    assert checkout.plan()["run"] == 4  # runs that no decision adds
    process = checkout.snakemake()
    assert process.returncode == 0, process.stdout + process.stderr
    config = load_config(checkout.folder / "config.yaml")
    order = [(cell_key(run["cell"]), run["repeat"]) for run in runs(checkout, "auto")]
    assert order == run_order(config)
    assert [len(numbers) for _, numbers in planned_runs(config, checkout.results)] == [3, 3]
    html = (checkout.results / "report.html").read_text()
    assert html.count("most repeats reached") == 2
    assert checkout.plan() == {}
    # with a wider interval the decisions are made anew, and nothing is measured
    small["precision"]["width"] = 0.9
    checkout.write(small)
    assert checkout.snakemake().returncode == 0
    assert len(runs(checkout, "auto")) == 6
    html = (checkout.results / "report.html").read_text()
    for cell in ("inflight~1", "inflight~2"):
        rounds = checkout.results / "plan/name~auto/model~m" / cell / "ranks~1"
        decisions = [json.loads(path.read_text()) for path in sorted(rounds.glob("round~*.json"))]
        last = next(decision for decision in decisions if decision["stopped"])
        half = (last["seen"][-1]["high"] - last["seen"][-1]["low"]) / 2
        # the spread of the repeats depends on the machine
        narrow = half <= 0.9 * last["seen"][-1]["measured"]
        assert last["stopped"] == ("width" if narrow else "most repeats")
        assert REASONS[last["stopped"]] in html


def test_a_search_that_was_killed_goes_on_where_it_was(checkout, small):
    small |= {"name": "searching", "search": {"high": 2}}
    small["slo"] = {"latency_ms": {"p95": 60_000}}
    small["sweep"] = {"ranks": [1]}
    small["run"]["max_tokens"] = 100  # the second probe must not have ended when it is killed
    checkout.write(small)
    with (checkout.folder / "search.log").open("w") as log:
        process = subprocess.Popen(
            checkout.command(),
            cwd=checkout.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    chain = checkout.results / "plan/name~searching/model~m/ranks~1"
    processes = {}
    try:
        deadline = time.monotonic() + 300
        # with this file there, Snakemake knows that the first probe is complete
        while not (chain / "round~1.json").exists():
            assert process.poll() is None and time.monotonic() < deadline
            processes |= descendants(process.pid)
            time.sleep(0.1)
        processes |= descendants(process.pid)
    finally:
        process.kill()
        process.wait(10)
    assert not survivors(processes, within_s=15)
    assert checkout.snakemake("--unlock").returncode == 0
    (before,) = runs(checkout, "searching")
    result = checkout.snakemake()
    assert result.returncode == 0, result.stdout + result.stderr
    first, second = runs(checkout, "searching")
    assert first == before
    assert (first["cell"]["inflight"], second["cell"]["inflight"]) == (1, 2)
    assert json.loads((chain / "round~2.json").read_text())["found"] == 2
    html = (checkout.results / "report.html").read_text()
    assert "The search: upper end reached, inflight 2." in html
    assert checkout.plan() == {}
    # a missing probe is measured again, though only a decision asks for it
    (folder,) = (checkout.results / "runs" / "name~searching").rglob("inflight~2")
    folder.rename(folder.with_name("aside"))
    assert checkout.plan()["run"] == 1
