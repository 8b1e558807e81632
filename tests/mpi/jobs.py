"""MPI jobs: several runs in one, or with a fault on purpose, and the processes that survive them."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil
from tests.living import living
from tests.mpi.conftest import Mpirun

IN_TURN = Path(__file__).with_name("in_turn.py")
SCENES = Path(__file__).with_name("scenes.py")
Ending = tuple[int, str, list[psutil.Process]]
"""(exit status, output, processes that survive the job)."""


class Family:
    """All descendants that a process ever had."""

    def __init__(self, pid: int) -> None:
        self.members: dict[psutil.Process, None] = {}
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):  # each look reads the ids of all processes
            try:
                self.members.update(dict.fromkeys(self._root.children(recursive=True)))
            except psutil.NoSuchProcess:
                return

    def survivors(self, timeout_s: float = 10) -> list[psutil.Process]:
        """The members that run for longer than `timeout_s` from now; they are killed."""
        self._over.set()
        self._thread.join()
        alive = living(self.members, timeout_s)
        for process in alive:
            process.kill()
        return alive


def run_in_turn(
    mpirun: Mpirun, ranks: int, folder: Path, runs: Sequence[Sequence[object]]
) -> subprocess.CompletedProcess[str]:
    """Runs of one job, by the options of each, one after another (`in_turn.py`).

    Most of a short job's time is its imports. The job ends with a run that fails.
    """
    path = folder / "runs.json"
    path.write_text(json.dumps([[str(word) for word in options] for options in runs]))
    return mpirun.run(ranks, path, program=[IN_TURN])


def play(mpirun: Mpirun, scene: str, ranks: int, *options: object) -> Ending:
    """The ending of a job that plays a scene of `scenes.py`."""
    return ending(mpirun.start(ranks, *options, program=[SCENES, scene]), ranks)


def ending(process: subprocess.Popen[str], ranks: int) -> Ending:
    """The ending of a job."""
    family = Family(process.pid)
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(10)
        survivors = family.survivors()
    assert len(family.members) >= ranks
    return process.returncode, output, survivors
