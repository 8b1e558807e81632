"""`server.reuse: cell`: all repeats of a cell beside one process of its server."""

import json
import os
import signal
import subprocess
import time

import psutil
import pyarrow.parquet as pq
import pytest
from tests.servers.counting import PROMPT_TOKENS
from tests.workflow.checkout import Checkout, descendants, survivors

REPEATS = 3
REQUESTS, TOKENS = 6, 8
CONFIG = {
    "name": "shared",
    "environment": {"manager": "current"},
    "models": {"weights": {"path": "tests/servers"}},
    "server": {
        "engine": "command",
        "reuse": "cell",
        "command": ["python", "-m", "tests.servers.counting", "--port", "{port}"],
    },
    "run": {"iters": REQUESTS, "max_tokens": TOKENS, "prompt_words": 4, "warmup": 1},
    "sweep": {"inflight": [2], "ranks": [1]},
    "repeats": REPEATS,
}
CELL = "name~shared/model~weights/inflight~2/ranks~1"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("shared"))
    checkout.write(CONFIG)
    process = checkout.snakemake()
    assert process.returncode == 0, process.stdout + process.stderr
    return checkout


def results(checkout):
    """The `run.json` of each repeat that has one."""
    folder = checkout.results / "runs" / CELL
    return {
        int(path.parent.name.removeprefix("repeat~")): json.loads(path.read_text())
        for path in sorted(folder.glob("*/run.json"))
    }


def growth(run, name):
    before, after = (run["server"][when]["metrics"][name] for when in ("before", "after"))
    return after - before


def left_over(checkout):
    lines = [
        (p.info["pid"], " ".join(p.info["cmdline"] or []))
        for p in psutil.process_iter(["pid", "cmdline"])
    ]
    return [line for line in lines if "servers.counting" in line[1]]


def test_three_repeats_in_one_process_each_with_its_own_files(shared):
    runs = results(shared)
    assert [*runs] == [1, 2, 3]
    processes = [run["server"]["process"] for run in runs.values()]
    assert [process.pop("run") for process in processes] == [1, 2, 3]
    assert processes[0] == processes[1] == processes[2]
    assert processes[0]["cache"] == "salted" and len(processes[0]["pids"]) == 1
    for number, run in runs.items():
        folder = shared.results / "runs" / CELL / f"repeat~{number}"
        assert {path.name for path in folder.iterdir()} == {
            "run.json",
            "requests.parquet",
            "telemetry.parquet",
        }
        assert pq.read_table(folder / "requests.parquet").num_rows == REQUESTS
        times = pq.read_table(folder / "telemetry.parquet")["at_ns"].to_pylist()
        ends = pq.read_table(folder / "requests.parquet")["end_ns"].to_pylist()
        assert max(times) - 2e9 < max(ends) and min(times) > min(ends) - 20e9
        assert growth(run, "vllm:prompt_tokens_total") == REQUESTS * PROMPT_TOKENS
        assert growth(run, "vllm:generation_tokens_total") == REQUESTS * TOKENS
        assert {v["check"]: v["status"] for v in run["verdicts"]}["books_agree"] == "pass"
        assert run["host"]["server"] == "managed"
        assert run["server"]["engine"]["engine"] == "command"
        log = shared.results / "logs" / CELL / f"repeat~{number}" / "run.log"
        assert "=== throughput ===" in log.read_text()
    assert len({run["config"]["seed"] for run in runs.values()}) == REPEATS
    assert (shared.results / "logs" / CELL / "cell.log.server").exists()
    assert not left_over(shared)
    salts = (shared.folder / "salts").read_text().split()
    assert len({*salts}) == len(salts)


def test_the_page_says_so(shared):
    page = (shared.results / "report.html").read_text()
    assert "what varies from one start of the server to the next is in no interval" in page
    assert "a fresh server" not in page
    assert shared.plan() == {}


def test_an_archive_of_it_verifies(shared):
    process = shared.mls("archive", "--config", "config.yaml")
    assert process.returncode == 0, process.stderr
    process = shared.mls("verify", process.stdout.strip())
    assert process.returncode == 0, process.stdout + process.stderr


def test_fewer_repeats_measure_nothing_and_more_the_whole_cell(shared):
    shared.write(CONFIG | {"repeats": REPEATS - 1})
    assert "cell" not in shared.plan()
    shared.write(CONFIG | {"repeats": REPEATS + 1})
    assert shared.plan()["cell"] == 1
    shared.write(CONFIG)
    assert shared.plan() == {}


def test_a_repeat_that_is_missing_asks_for_its_whole_cell(shared):
    result = shared.results / "runs" / CELL / "repeat~2" / "run.json"
    aside = result.rename(result.with_name("aside"))
    try:
        assert shared.plan()["cell"] == 1
    finally:
        aside.rename(result)


def test_a_server_that_dies_takes_no_earlier_repeat_along(shared):
    """What it leaves is on the page; the next call measures the cell anew."""
    before = results(shared)
    (shared.folder / "dies").write_text("14")  # in the second repeat
    (shared.results / "runs" / CELL / "repeat~1" / "run.json").unlink()
    process = shared.snakemake()
    (shared.folder / "dies").unlink()
    assert process.returncode != 0
    assert [*results(shared)] == [1]
    failures = [
        json.loads((shared.results / "runs" / CELL / f"repeat~{n}" / "failure.json").read_text())
        for n in (2, 3)
    ]
    assert [failure["repeat"] for failure in failures] == [2, 3]
    assert failures[1]["message"].startswith("Not measured: the server, which all repeats of this")
    assert "ended with exit status 3" in failures[1]["message"]
    said = process.stdout + process.stderr
    assert f"1 of {REPEATS} repeats have a result" in said
    assert failures[1]["message"].partition(" and its log")[0][:60] in said
    page = (shared.results / "report.html").read_text()
    assert "Not measured: the server" in page
    assert not left_over(shared)
    # the whole cell is measured again, also the repeat that has a result
    first = results(shared)[1]
    process = shared.snakemake("--", "aggregate")
    assert process.returncode == 0, process.stdout + process.stderr
    after = results(shared)
    assert [*after] == [1, 2, 3]
    assert {tuple(run["server"]["process"]["pids"]) for run in after.values()} == {
        tuple(after[1]["server"]["process"]["pids"])
    }
    for run in (*before.values(), first):
        assert run["server"]["process"]["pids"] != after[1]["server"]["process"]["pids"]
    assert not [*shared.results.rglob("*.kept.*")]


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_cell_whose_snakemake_ends(shared, sig):
    name = f"long-{sig.name}"
    long = {"name": name, "run": CONFIG["run"] | {"iters": None, "duration_s": 60}}
    shared.write(CONFIG | long)
    process = subprocess.Popen(
        shared.command(),
        cwd=shared.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not [*(shared.results / "logs" / f"name~{name}").rglob("repeat~1/run.log")]:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(1)
        processes = descendants(process.pid)
        assert left_over(shared)
        if sig == signal.SIGINT:
            os.killpg(process.pid, sig)  # as a terminal's Ctrl-C
        else:
            process.send_signal(sig)
        below = {pid: p for pid, p in processes.items() if pid != process.pid}
        assert not survivors(below, within_s=15)
        process.wait(120)
        assert not left_over(shared)
    finally:
        process.kill()
        shared.write(CONFIG)
