"""No server, mpirun or rank outlives Snakemake. Checked by process id; see test_disturbed, too."""

import copy
import os
import signal
import subprocess
import time

import psutil
import pytest
from tests.workflow.checkout import SMALL, descendants, still_there

EXPECTED_S = 300
"""Snakemake's start and its last page are work; on a busy machine each takes more than a minute."""


@pytest.fixture
def long_run(checkout):
    """A running Snakemake in a session of its own, its ranks under load."""
    config = copy.deepcopy(SMALL)
    config["name"] = "long"
    config["run"] |= {"iters": None, "duration_s": 60}
    config["sweep"]["inflight"] = [2]
    checkout.write(config)
    with (checkout.folder / "long.log").open("w") as log:
        process = subprocess.Popen(
            checkout.command(),
            cwd=checkout.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started: dict[int, psutil.Process] = {}
    try:
        until = time.monotonic() + EXPECTED_S
        while len(named(started, "mls.worker")) < 3:  # mpirun or its proxy, and two ranks
            assert process.poll() is None, (checkout.folder / "long.log").read_text()
            assert time.monotonic() < until, "the ranks did not start"
            time.sleep(0.2)
            started |= descendants(process.pid)
        time.sleep(1)
        started |= descendants(process.pid)
        yield process, started
        process.wait(EXPECTED_S)
    finally:
        for found in started.values():
            if found.is_running():
                found.kill()
        process.wait(10)
        checkout.write(SMALL)
        checkout.snakemake("--unlock")


def named(processes, *words):
    """Those whose command line holds all the words."""
    found = []
    for process in processes.values():
        try:
            line = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if all(word in line for word in words):
            found.append(process)
    return found


def test_sigkill_of_snakemake(long_run):
    process, started = long_run
    process.kill()
    below = {pid: p for pid, p in started.items() if pid != process.pid}
    assert not still_there(below, within_s=15)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_group(long_run, signal_number):
    process, started = long_run
    os.killpg(process.pid, signal_number)
    # Snakemake itself stays a little longer: it renders what has been measured
    below = {pid: p for pid, p in started.items() if pid != process.pid}
    assert not still_there(below, within_s=15)
    assert process.wait(EXPECTED_S) != 0
