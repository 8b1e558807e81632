"""The load generator under real mpirun: each job once, the inflight of the config, nobody left."""

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.living import living
from tests.mpi.conftest import Mpirun
from tests.mpi.jobs import run_in_turn
from tests.servers.honest import Handler, HonestServer, Turns

TOKENS = 5
INFLIGHT, REQUESTS = 8, 64
DISPATCH = ("counter", "messages", "static")
RANKS = (1, 2, 4)

HOLDS = ("--inflight", INFLIGHT, "--iters", REQUESTS, "--warmup", 3)
ONCE = ("--inflight", 6, "--iters", 31, "--warmup", 0, "--seed", 5)
DURATION = ("--inflight", 3, "--duration", 0.5, "--warmup", 0)
GATHERED = ("--inflight", 5, "--iters", 33, "--warmup", 3, "--transport", "requests")
GATHERED += ("--max-tokens", 7)
WAITING = ("--inflight", 3, "--iters", 4, "--warmup", 0, "--max-tokens", 150)
SLOW = ("gathered", "waiting")
"""Runs whose server takes the usual time for a token."""


class Quick(Handler):
    token_s = 0.002


@dataclass(frozen=True)
class Run:
    """One run of a job: its results, and the server that it had for itself."""

    result: dict[str, Any]
    table: pa.Table
    server: HonestServer


@dataclass(frozen=True)
class Job:
    """A job of some ranks: its runs by name, and its output."""

    ranks: int
    runs: dict[str, Run]
    output: str


def runs_of(ranks: int) -> dict[str, tuple[object, ...]]:
    """Name → options of the runs of a job."""
    runs: dict[str, tuple[object, ...]] = {"holds apart": (*HOLDS, "--scheduler", "apart")}
    if ranks == 2:
        runs["holds works"] = (*HOLDS, "--scheduler", "works")
    for dispatch in DISPATCH:
        option = ("--dispatch", dispatch)
        runs[f"once {dispatch}"] = ONCE + option
        runs[f"duration {dispatch}"] = DURATION + option
    if ranks == 4:
        runs |= {"gathered": GATHERED, "waiting": WAITING}
    return runs


def job_of_ranks(mpirun: Mpirun, ranks: int, folder: Path) -> Job:
    """All runs of a number of ranks, in one job."""
    runs = runs_of(ranks)
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                HonestServer(
                    handler=Quick if name not in SLOW else None,
                    turns=Turns(INFLIGHT, REQUESTS) if name.startswith("holds") else None,
                )
            )
            for name in runs
        }
        each = [
            ["--server", servers[name].url, "--output", folder / name, "--max-tokens", TOKENS]
            for name in runs
        ]
        lines = [  # of an option given twice the last counts
            [*first, *options] for first, options in zip(each, runs.values(), strict=True)
        ]
        process = run_in_turn(mpirun, ranks, folder, lines)
    assert process.returncode == 0, process.stdout + process.stderr
    results = {
        name: Run(
            json.loads((folder / name / "run.json").read_text()),
            pq.read_table(folder / name / "requests.parquet"),
            servers[name],
        )
        for name in runs
    }
    return Job(ranks, results, process.stdout)


@pytest.fixture(scope="module")
def jobs(any_mpirun, tmp_path_factory):
    return {
        ranks: job_of_ranks(any_mpirun, ranks, tmp_path_factory.mktemp(f"ranks{ranks}"))
        for ranks in RANKS
    }


@pytest.mark.parametrize(
    ("ranks", "scheduler"), [*((ranks, "apart") for ranks in RANKS), (2, "works")]
)
def test_holds_the_inflight_asked_for_on_any_number_of_ranks(jobs, ranks, scheduler):
    run = jobs[ranks].runs[f"holds {scheduler}"]
    assert run.server.peak == INFLIGHT
    inflight = run.result["summary"]["inflight"]
    assert inflight["max"] == INFLIGHT
    # a busy machine may be late with a free place's next request; the other places wait meanwhile
    assert INFLIGHT - 1 < inflight["achieved_time_weighted"] <= INFLIGHT
    # warm-up requests reach the server, and are neither in the table nor in the summary
    assert len(run.server.replies) == REQUESTS + 3
    assert sorted(run.table["job"].to_pylist()) == list(range(REQUESTS))
    assert run.result["summary"]["tokens"]["completion"] == REQUESTS * TOKENS
    request_ids = set(run.server.replies)
    assert set(run.table["request_id"].to_pylist()) < request_ids
    workers = set(run.table["rank"].to_pylist())
    assert workers == set(range(0 if ranks == 1 or scheduler == "works" else 1, ranks))
    output = jobs[ranks].output
    assert output.count("=== throughput ===") == len(jobs[ranks].runs)
    assert f"tokens={REQUESTS * TOKENS} " in output and f"ok={REQUESTS} err=0" in output


@pytest.mark.parametrize("dispatch", DISPATCH)
@pytest.mark.parametrize("ranks", RANKS)
def test_every_job_is_handed_out_exactly_once(jobs, dispatch, ranks):
    run = jobs[ranks].runs[f"once {dispatch}"]
    assert sorted(run.table["job"].to_pylist()) == list(range(31))
    assert set(run.server.replies.values()) == {TOKENS}


@pytest.mark.parametrize("dispatch", DISPATCH)
def test_the_same_seed_sends_the_same_prompts_on_any_number_of_ranks(jobs, dispatch):
    hashes = [
        jobs[ranks].runs[f"once {dispatch}"].table["prompt_sha256"].to_pylist() for ranks in RANKS
    ]
    assert all(each == hashes[0] for each in hashes)
    assert len(set(hashes[0])) == 31


@pytest.mark.parametrize("dispatch", DISPATCH)
@pytest.mark.parametrize("ranks", RANKS)
def test_duration_ends_the_run(jobs, dispatch, ranks):
    run = jobs[ranks].runs[f"duration {dispatch}"]
    due = run.table["scheduled_ns"].to_numpy()  # a busy machine may send later
    assert due.max() - due.min() < 0.5e9
    assert run.result["summary"]["requests"]["ok"] == run.table.num_rows > 2


def test_tokens_gathered_are_the_servers_count(jobs):
    run = jobs[4].runs["gathered"]
    rows = run.table.to_pylist()
    assert len({row["request_id"] for row in rows}) == 33
    for row in rows:
        assert run.server.replies[row["request_id"]] == row["completion_tokens"] == row["chunks"]
    assert run.server.replies.total() - 3 * 7 == sum(row["completion_tokens"] for row in rows)
    assert run.server.peak == 5


def test_waiting_ranks_sleep(jobs):
    """A blocking MPI call would use all of a core; rank 0 has nothing to do here but wait."""
    ranks = jobs[4].runs["waiting"].result["summary"]["client"]["per_rank"]
    assert len(ranks) == 4
    assert max(rank["cpu_fraction"] for rank in ranks) < 0.2


def test_a_bad_option_is_one_sentence_and_an_exit_status(mpirun):
    process = mpirun.run(3, "--server", "http://127.0.0.1:9", "--inflight", 1)
    assert process.returncode != 0
    assert process.stderr.count("inflight 1 is less than the 2 worker ranks") == 1
    assert "Traceback" not in process.stderr


def test_a_server_that_is_not_there_is_one_sentence(mpich):
    process = mpich.run(2, "--server", "http://127.0.0.1:9", "--iters", 4, "--inflight", 2)
    assert process.returncode != 0
    assert "http://127.0.0.1:9" in process.stderr
    assert "Traceback" not in process.stderr


def test_scheduler_works_when_there_are_more_ranks_than_cores(mpich, server, tmp_path):
    ranks = len(os.sched_getaffinity(0)) + 1
    options = ("--inflight", ranks, "--iters", 4 * ranks, "--max-tokens", TOKENS)
    process = mpich.run(ranks, "--server", server.url, *options, "--output", tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    table = pq.read_table(tmp_path / "requests.parquet")
    assert set(table["rank"].to_pylist()) == set(range(ranks))


@pytest.mark.parametrize("victim", ["launcher", "rank 0", "last rank"])
def test_sigkill_leaves_nobody(mpirun, server, victim):
    process = mpirun.start(
        2, "--server", server.url, "--inflight", 4, "--duration", 60, "--max-tokens", 20
    )
    family: dict[int, psutil.Process] = {}
    try:
        until = time.monotonic() + 60
        while server.outstanding < 4:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        for child in psutil.Process(process.pid).children(recursive=True):
            family[child.pid] = child
        ranks = [
            p
            for p in family.values()
            if "mls.worker" in p.cmdline() and "-m" in p.cmdline() and p.cmdline()[1] == "-m"
        ]
        assert len(ranks) == 2
        {"launcher": process, "rank 0": ranks[0], "last rank": ranks[-1]}[victim].kill()
        process.wait(20)
        assert living(family.values(), within_s=10) == []
    finally:
        for child in family.values():
            if child.is_running():
                child.kill()
        process.kill()
        process.wait(10)
