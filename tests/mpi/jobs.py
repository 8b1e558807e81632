"""MPI jobs in which something goes wrong on purpose, and what they leave running."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import psutil
from tests.living import living
from tests.mpi.conftest import Mpirun

REHEARSED = Path(__file__).with_name("rehearsed.py")
Ending = tuple[int, str, list[psutil.Process]]
"""(exit status, what was printed, what was left running)."""


class Family:
    """All processes that ever came out of one, by identity."""

    def __init__(self, pid: int) -> None:
        self.members: dict[psutil.Process, None] = {}
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            try:
                self.members.update(dict.fromkeys(self._root.children(recursive=True)))
            except psutil.NoSuchProcess:
                return

    def left(self, timeout_s: float = 10) -> list[psutil.Process]:
        """Those that are still there after a while; they are ended then."""
        self._over.set()
        self._thread.join()
        alive = living(self.members, timeout_s)
        for process in alive:
            process.kill()
        return alive


def rehearse(mpirun: Mpirun, scene: str, ranks: int, *options: object) -> Ending:
    """How a scene of `rehearsed.py` ends."""
    return ending(mpirun.start(ranks, *options, program=[REHEARSED, scene]), ranks)


def ending(process: subprocess.Popen[str], ranks: int) -> Ending:
    """How a job that has been started ends."""
    family = Family(process.pid)
    try:
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(10)
        left = family.left()
    assert len(family.members) >= ranks
    return process.returncode, printed, left
