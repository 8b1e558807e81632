"""`mls serve`: an engine for as long as a command runs; both end without leaving a process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.host.launch.gate import Gate
from mls.host.pinning import NOT_PINNED, CpuSets
from mls.host.processes.descendants import ending_descendants
from mls.host.processes.signals import SignalWait
from mls.host.usage.foreign_servers import Foreign
from mls.host.usage.sockets import here
from mls.server.engine.client import BY_SIGNAL, END_GRACE_S, Client, program, why_one_died
from mls.server.engine.facts import PROCESS_VARIABLE, engine_facts
from mls.server.engine.facts import VARIABLE as FACTS_VARIABLE
from mls.server.engine.placement import places
from mls.server.engine.process import EndSignalError, EngineProcess, Engines
from mls.server.telemetry.samples import Sampler, sampling

_URL = "MLS_SERVER"


def serve(
    server: Server,
    model_file: Path | None,
    alias: str,
    command: list[str],
    log: Path,
    pinned: CpuSets = NOT_PINNED,
    *,
    at_once: bool = False,
) -> int:
    """Start the engine, run the command with the URL in its environment, end the engine.

    With `server.url` or `urls` there is no engine; model_file and log are unused then. alias: the
    model's name in requests. With
    `server.fleet` there are several engines, and blanks separate their URLs (`MLS_SERVER`). The
    environment also holds the engines' process ids, as `MLS_SERVER_PID`. pinned: the CPUs of the
    engines, and those of the command and the sampler. at_once: the command starts together with the engine, and
    gets these variables when it passes the gate, see `host.launch.gate`.

    Returns the command's exit status; 128 + n when signal n ended it or this process; at least 1
    when the engine died during the run, with a line on stderr. Raises `UserError` when command or
    engine can't be started. Call it in the main thread: both children end with the thread that
    started them.
    """
    argv = [program(command), *command[1:]]
    with SignalWait() as signals, ending_descendants():
        try:
            if server.addresses:
                foreign = Foreign(list(filter(here, server.addresses)), os.getpid())
                with sampling(pinned.ranks) as sampler:
                    sampler.begin(server, server.addresses, foreign.tops, model=alias)
                    variables = {_URL: " ".join(server.addresses)} | sampler.variables
                    with Client(argv, variables, pinned, []) as running:
                        return running.status(signals)
            engines = _engines(server, model_file, alias, log, pinned)
            with engines, sampling(pinned.ranks) as sampler:
                if not at_once:
                    engines.wait_until_ready(signals)
                    variables = _begin(server, engines.running, sampler)
                    variables |= sampler.variables
                    with Client(argv, variables, pinned, engines.running) as running:
                        return running.status(signals)
                with Gate() as gate:
                    variables = {_URL: ""} | sampler.variables | gate.variables
                    with Client(argv, variables, pinned, engines.running) as running:
                        try:
                            is_ready = engines.wait_until_ready(signals, running.goes_on)
                        except UserError:
                            gate.shut()
                            running.wait(signals, END_GRACE_S)
                            raise
                        if is_ready:
                            gate.open(_begin(server, engines.running, sampler))
                        return running.status(signals)
        except EndSignalError as error:
            return BY_SIGNAL + error.sig


class Shared:
    """A managed server that is ready, and runs beside it one after another."""

    def __init__(
        self, server: Server, engines: list[EngineProcess], pinned: CpuSets, signals: SignalWait
    ) -> None:
        self._server = server
        self._engines = engines
        self._pinned = pinned
        self._signals = signals
        self._ready_utc = datetime.now(UTC).isoformat()
        self._runs = 0

    def run(self, command: list[str], log: TextIO) -> int:
        """Run a command with a sampler of its own. Returns its exit status, as of `Client.status`.

        log: where its output goes. Raises `UserError` when it can't be started, and
        `EndSignalError`.
        """
        argv = [program(command), *command[1:]]
        self._runs += 1
        process = {
            "pids": [one.process.pid for one in self._engines],
            "ready_utc": self._ready_utc,
            "run": self._runs,
        }
        with sampling(self._pinned.ranks) as sampler:
            variables = _begin(self._server, self._engines, sampler) | sampler.variables
            variables[PROCESS_VARIABLE] = json.dumps(process)
            with Client(argv, variables, self._pinned, self._engines, log) as running:
                return running.status(self._signals)

    def why_it_died(self) -> str | None:
        """How the server ended, as a predicate; None while it runs."""
        return why_one_died(self._engines)


@contextmanager
def serve_several(
    server: Server, model_file: Path | None, alias: str, log: Path, pinned: CpuSets = NOT_PINNED
) -> Iterator[Shared]:
    """A managed server during the block, ready from its beginning; see `serve`.

    Raises `UserError` when it can't be started, and `EndSignalError` when a signal comes while it
    loads. Enter it in the main thread.
    """
    with (
        SignalWait() as signals,
        ending_descendants(),
        _engines(server, model_file, alias, log, pinned) as engines,
    ):
        engines.wait_until_ready(signals)
        yield Shared(server, engines.running, pinned, signals)


def _engines(
    server: Server, model_file: Path | None, alias: str, log: Path, pinned: CpuSets
) -> Engines:
    if model_file is None:
        raise UserError(
            "A managed server needs a model file; give models.<name>.path or another source."
        )
    return Engines(server, model_file, alias, log, places(server, pinned.server))


def _begin(server: Server, engines: list[EngineProcess], sampler: Sampler) -> dict[str, str]:
    """Have engines that are ready sampled. Returns the variables that tell a command of them."""
    facts = [
        engine_facts(server, one.argv, one.log, one.profiler.note, one.place) for one in engines
    ]
    pids = [one.process.pid for one in engines]
    sampler.begin(server, [one.url for one in engines], pids)
    return {
        _URL: " ".join(one.url for one in engines),
        f"{_URL}_PID": " ".join(map(str, pids)),
        FACTS_VARIABLE: json.dumps(facts),
    }
