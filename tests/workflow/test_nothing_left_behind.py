"""No server, mpirun or rank outlives Snakemake, by process id. See test_disturbed, too."""

import copy
import os
import signal
import subprocess
import time

import psutil
import pytest
from tests.workflow.checkout import SMALL, descendants, survivors

EXPECTED_S = 300
"""Snakemake's start and its last page each take more than a minute on a busy machine."""


@pytest.fixture
def long_run(checkout):
    """(Snakemake in a session of its own, it and its descendants by pid), with ranks under load."""
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
    processes: dict[int, psutil.Process] = {}
    try:
        deadline = time.monotonic() + EXPECTED_S
        while len(with_words(processes, "mls.worker")) < 3:  # mpirun or its proxy, and two ranks
            assert process.poll() is None, (checkout.folder / "long.log").read_text()
            assert time.monotonic() < deadline, "the ranks did not start"
            time.sleep(0.2)
            processes |= descendants(process.pid)
        time.sleep(1)
        processes |= descendants(process.pid)
        yield process, processes
        process.wait(EXPECTED_S)
    finally:
        for child in processes.values():
            if child.is_running():
                child.kill()
        process.wait(10)
        checkout.reset()
        checkout.snakemake("--unlock")


def with_words(processes, *words):
    """The processes whose command lines hold all the words."""
    matches = []
    for process in processes.values():
        try:
            line = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if all(word in line for word in words):
            matches.append(process)
    return matches


def test_sigkill_of_snakemake(long_run):
    process, processes = long_run
    process.kill()
    below = {pid: p for pid, p in processes.items() if pid != process.pid}
    assert not survivors(below, within_s=15)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_group(long_run, signal_number):
    process, processes = long_run
    os.killpg(process.pid, signal_number)
    # Snakemake itself stays a little longer and renders the page
    below = {pid: p for pid, p in processes.items() if pid != process.pid}
    assert not survivors(below, within_s=15)
    assert process.wait(EXPECTED_S) != 0
