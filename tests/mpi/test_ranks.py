"""The load generator under real mpirun: each job once, the inflight of the config, nobody left."""

import json
import os
import time

import psutil
import pyarrow.parquet as pq
import pytest
from tests.living import living
from tests.servers.honest import HonestServer, Turns

TOKENS = 5
INFLIGHT, REQUESTS = 8, 64


def load(mpirun, server, folder, ranks, *options):
    process = mpirun.run(
        ranks, "--server", server.url, "--max-tokens", TOKENS, "--output", folder, *options
    )
    assert process.returncode == 0, process.stdout + process.stderr
    result = json.loads((folder / "run.json").read_text())
    return result, pq.read_table(folder / "requests.parquet"), process.stdout


@pytest.mark.parametrize(
    ("ranks", "scheduler"), [(1, "apart"), (2, "apart"), (3, "apart"), (4, "apart"), (2, "works")]
)
def test_holds_the_inflight_asked_for_on_any_number_of_ranks(mpirun, tmp_path, ranks, scheduler):
    options = ("--inflight", INFLIGHT, "--iters", REQUESTS, "--warmup", 3)
    options += ("--scheduler", scheduler)
    with HonestServer(turns=Turns(INFLIGHT, REQUESTS)) as server:
        result, table, output = load(mpirun, server, tmp_path, ranks, *options)
    assert server.peak == INFLIGHT
    inflight = result["summary"]["inflight"]
    assert inflight["max"] == INFLIGHT
    # a busy machine may be late with a free place's next request; the other places wait meanwhile
    assert INFLIGHT - 1 < inflight["achieved_time_weighted"] <= INFLIGHT
    # warm-up requests reach the server, and are neither in the table nor in the summary
    assert len(server.replies) == REQUESTS + 3
    assert sorted(table["job"].to_pylist()) == list(range(REQUESTS))
    assert result["summary"]["tokens"]["completion"] == REQUESTS * TOKENS
    request_ids = set(server.replies)
    assert set(table["request_id"].to_pylist()) < request_ids
    workers = set(table["rank"].to_pylist())
    assert workers == set(range(0 if ranks == 1 or scheduler == "works" else 1, ranks))
    assert "=== throughput ===" in output
    assert f"tokens={REQUESTS * TOKENS} " in output and f"ok={REQUESTS} err=0" in output


@pytest.mark.parametrize("dispatch", ["counter", "messages", "static"])
@pytest.mark.parametrize("ranks", [2, 4])
def test_every_job_is_handed_out_exactly_once(mpirun, server, tmp_path, dispatch, ranks):
    options = ("--inflight", 6, "--iters", 31, "--warmup", 0, "--dispatch", dispatch)
    _, table, _ = load(mpirun, server, tmp_path, ranks, *options)
    assert sorted(table["job"].to_pylist()) == list(range(31))
    assert set(server.replies.values()) == {TOKENS}


@pytest.mark.parametrize("dispatch", ["counter", "messages", "static"])
def test_the_same_seed_sends_the_same_prompts_on_any_number_of_ranks(
    mpirun, server, tmp_path, dispatch
):
    hashes = []
    for ranks in (1, 3):
        options = ("--inflight", 4, "--iters", 12, "--seed", 5, "--dispatch", dispatch)
        _, table, _ = load(mpirun, server, tmp_path / str(ranks), ranks, *options)
        hashes.append(table["prompt_sha256"].to_pylist())
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 12


@pytest.mark.parametrize("dispatch", ["counter", "messages", "static"])
def test_duration_ends_the_run(mpirun, server, tmp_path, dispatch):
    options = ("--inflight", 2, "--duration", 0.5, "--warmup", 0, "--dispatch", dispatch)
    result, table, _ = load(mpirun, server, tmp_path, 3, *options)
    due = table["scheduled_ns"].to_numpy()  # a busy machine may send later
    assert due.max() - due.min() < 0.5e9
    assert result["summary"]["requests"]["ok"] == table.num_rows > 2


def test_a_bad_option_is_one_sentence_and_an_exit_status(mpirun):
    process = mpirun.run(3, "--server", "http://127.0.0.1:9", "--inflight", 1)
    assert process.returncode != 0
    assert process.stderr.count("inflight 1 is less than the 2 worker ranks") == 1
    assert "Traceback" not in process.stderr


def test_a_server_that_is_not_there_is_one_sentence(mpirun):
    process = mpirun.run(2, "--server", "http://127.0.0.1:9", "--iters", 4, "--inflight", 2)
    assert process.returncode != 0
    assert "http://127.0.0.1:9" in process.stderr
    assert "Traceback" not in process.stderr


def test_scheduler_works_when_there_are_more_ranks_than_cores(mpirun, server, tmp_path):
    ranks = len(os.sched_getaffinity(0)) + 1
    _, table, _ = load(mpirun, server, tmp_path, ranks, "--inflight", ranks, "--iters", 4 * ranks)
    assert set(table["rank"].to_pylist()) == set(range(ranks))


@pytest.mark.parametrize("victim", ["launcher", "rank 0", "last rank"])
def test_sigkill_leaves_nobody(mpirun, server, victim):
    process = mpirun.start(
        3, "--server", server.url, "--inflight", 4, "--duration", 60, "--max-tokens", 20
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
        assert len(ranks) == 3
        {"launcher": process, "rank 0": ranks[0], "last rank": ranks[-1]}[victim].kill()
        process.wait(20)
        assert living(family.values(), within_s=10) == []
    finally:
        for child in family.values():
            if child.is_running():
                child.kill()
        process.kill()
        process.wait(10)
