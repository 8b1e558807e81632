"""A fault on one rank ends all ranks; clocks of other hosts."""

import json
import os
import threading
import time

import pyarrow.parquet as pq
import pytest
from tests.mpi.jobs import ending, play

# strikes rank 0 at the first import of mpi4py.MPI itself, which has initialized MPI by then
INTERRUPTER = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if "mpi4py.MPI" in sys.modules:
            if os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "0":
                os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
"""


@pytest.mark.parametrize("dispatch", ["counter", "messages", "static"])
def test_uncaught_exception_in_one_rank_ends_all(mpirun, server, dispatch):
    options = ("--server", server.url, "--inflight", 6, "--iters", 5000, "--dispatch", dispatch)
    options += ("--max-tokens", 8)
    status, output, survivors = play(mpirun, "crash", 3, *options)
    assert status != 0 and survivors == []
    assert output.count("RuntimeError: a bug that nobody expected") == 1
    assert "=== throughput ===" not in output


def test_a_rank_interrupted_while_mpi_is_imported_ends_all(mpirun, server, tmp_path):
    """At that moment MPI is initialized, and Python can't abort it yet."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTER)
    path = f"{tmp_path}{os.pathsep}{mpirun.environment['PYTHONPATH']}"
    mpirun.environment["PYTHONPATH"] = path
    status, output, survivors = ending(mpirun.start(2, "--server", server.url, "--iters", 4), 2)
    assert status != 0 and survivors == [], output


def test_no_rank_ends_all_before_rank_0_has_told_why(mpirun, tmp_path):
    options = ("--server", "http://127.0.0.1:9", "--inflight", 4, "--output", tmp_path)
    status, output, survivors = play(mpirun, "slow_to_write", 2, *options)
    assert status != 0 and survivors == []
    assert output.count("mls run: Server http://127.0.0.1:9 can't be reached") == 1
    assert "can't be reached" in json.loads((tmp_path / "failure.json").read_text())["message"]


def test_rank_that_cannot_connect_ends_all_with_one_sentence(mpirun, server, tmp_path):
    options = ("--server", server.url, "--inflight", 4, "--output", tmp_path)
    status, output, survivors = play(mpirun, "no_connection", 3, *options)
    assert status != 0 and survivors == []
    assert output.count("The last rank can't reach the server.") == 1
    assert "Traceback" not in output
    assert not server.replies
    assert "last rank" in json.loads((tmp_path / "failure.json").read_text())["message"]


@pytest.mark.parametrize("dispatch", ["counter", "messages", "static"])
def test_server_that_disappears_ends_all_and_its_records_are_kept(
    mpirun, server, tmp_path, dispatch
):
    options = ("--server", server.url, "--inflight", 6, "--duration", 1000, "--warmup", 0)
    options += ("--max-tokens", 3, "--dispatch", dispatch, "--output", tmp_path)

    def vanish():
        until = time.monotonic() + 60
        while len(server.replies) < 20 and time.monotonic() < until:
            time.sleep(0.01)
        server.vanish()

    vanishing = threading.Thread(target=vanish)
    vanishing.start()
    status, output, survivors = play(mpirun, "impatient", 3, *options)
    vanishing.join()
    assert status != 0 and survivors == []
    assert f"The server at {server.url} has gone" in output
    assert not (tmp_path / "run.json").exists()
    table = pq.read_table(tmp_path / "requests.partial.parquet")
    ok = [row for row in table.to_pylist() if row["error"] is None]
    assert len(ok) >= 15 and {row["completion_tokens"] for row in ok} == {3}
    jobs = table["job"].to_pylist()
    assert len(jobs) == len(set(jobs))
    if dispatch == "counter":  # the numbers are consecutive: no record is lost
        assert jobs == list(range(len(jobs)))


def test_clocks_of_other_hosts_are_found_and_their_drift(mpirun):
    status, output, survivors = play(mpirun, "clocks", 4)
    assert status == 0 and survivors == [], output
    ranks = [tuple(map(float, line.split())) for line in output.splitlines()]
    assert [rank for rank, *_ in ranks] == [0, 1, 2, 3]
    assert ranks[0][1:5] == (0, 0, 0, 0)
    for rank, error, uncertainty, drift, drift_uncertainty, cpu_s in ranks[1:]:
        slower = min(rank, 2) * 0.01
        assert abs(error) <= uncertainty * (1 + slower) + 1
        assert drift == pytest.approx((1 / (1 + slower) - 1) * 1e6, abs=drift_uncertainty + 1)
        assert cpu_s < 0.5  # of the second that rank 0 was late
    assert ranks[2][2] == ranks[3][2]  # one clock, measured once
