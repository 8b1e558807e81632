"""The processes of a managed engine or of a fleet, from their start to their end."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.core.files import unwritable
from mls.host.pinning import move_to
from mls.host.processes.descendants import end_tree
from mls.host.processes.lifetime import die_with_parent
from mls.host.processes.signals import SignalWait
from mls.protocol.request import Target
from mls.server.access import api_key
from mls.server.engine.command import LOOPBACK, engine
from mls.server.engine.keeper import END_GRACE_S
from mls.server.engine.log import decisive_line, hide, how_it_ended
from mls.server.engine.placement import ANYWHERE, Place
from mls.server.engine.profiler import Profiler, profiler
from mls.server.engine.readiness import reason_to_wait
from mls.server.engine.speculation import check_log

_LOOK_EVERY_S = 0.05
_LOOK_AT_ALL_EVERY_S = 0.25  # At the sockets of all processes, which takes longer
_PORT_TRIES = 3
HIGHEST_PORT = 65535
_KEEPER_GRACE_S = END_GRACE_S + 5
_REPORT_GRACE_S = 120


class EndSignalError(Exception):
    """A signal to end came while this process was waiting for the server."""

    def __init__(self, sig: signal.Signals) -> None:
        super().__init__(sig.name)
        self.sig = sig


@dataclass(frozen=True)
class EngineProcess:
    """A running engine."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    log: Path
    argv: list[str]
    """Its own command line, without a profiler's or a keeper's."""
    profiler: Profiler
    place: Place
    end_grace_s: float = 5
    """How long it may take to end by itself."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Its API key, which may be in its log, in each form in which it may be written there."""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def why_it_died(self) -> str | None:
        """How the process ended, as a predicate; None while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        return f"{how_it_ended(status)}{self.last_words()}; see {self.log}"

    def last_words(self) -> str:
        """The decisive line of its log, as a clause; empty without one."""
        line = decisive_line(self.log, self.secrets)
        return f", and its log says: {line}" if line else ""

    def end(self) -> None:
        """End the process, wait for its end, and hide keys in its log."""
        if self.profiler.runs:  # It writes its report after the engine's end
            self._interrupt()
        end_tree(self.process.pid, self.end_grace_s)
        self.process.wait()
        hide(self.log, self.secrets)
        if problem := self.profiler.problem():
            print(f"mls serve: profile: {problem}.", file=sys.stderr, flush=True)

    def _interrupt(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, subprocess.TimeoutExpired):
            for below in psutil.Process(self.process.pid).children(recursive=True):
                if below.cmdline() == self.argv:
                    below.send_signal(signal.SIGINT)
            self.process.wait(_REPORT_GRACE_S)


class Engines:
    """The engines of one server or fleet, one at each place, for the length of a context.

    All are started at once. The kernel kills them when this process ends. They have sessions of
    their own: a terminal's Ctrl-C reaches them through this process only.
    """

    def __init__(
        self,
        server: Server,
        model_file: Path,
        alias: str,
        log: Path,
        where: Sequence[Place] = (ANYWHERE,),
    ) -> None:
        """log: the first engine's; the others' logs have its name with their number."""
        self._server = server
        self._model_file = model_file
        self._alias = alias
        self._log = log
        self._where = where
        self.running: list[EngineProcess] = []

    def __enter__(self) -> Engines:
        """Start them. Raises `UserError` when one can't be started; none is left then."""
        if not self._model_file.exists():
            raise UserError(f"Model file {self._model_file} is missing; check its path.")
        try:
            for number in range(len(self._where)):
                self.running.append(self._launch(number))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def wait_until_ready(
        self, signals: SignalWait, goes_on: Callable[[], bool] = lambda: True
    ) -> bool:
        """Wait for all, in turn, while `goes_on`. Returns whether they are ready.

        Raises `UserError` when an engine dies or isn't ready in time, and `EndSignalError` when a
        signal comes first.
        """
        return all(self._is_ready(number, signals, goes_on) for number in range(len(self._where)))

    def _is_ready(self, number: int, signals: SignalWait, goes_on: Callable[[], bool]) -> bool:
        server = self._server
        for attempt in range(1, _PORT_TRIES + 1):
            candidate = self.running[number]
            try:
                return _wait_until_ready(candidate, server, signals, goes_on)
            except UserError:
                candidate.end()
                # Another program may take the free port before the engine does
                is_port_taken = server.port is None and not _is_free(candidate.host, candidate.port)
                if not is_port_taken or attempt == _PORT_TRIES:
                    raise
                self.running[number] = self._launch(number)
        raise AssertionError("the last attempt returns or raises")

    def _launch(self, number: int) -> EngineProcess:
        log = self._log.with_name(f"{self._log.name}.{number + 1}") if number else self._log
        port = _port(self._server, number)
        return _launch(self._server, self._model_file, self._alias, port, log, self._where[number])

    def _end(self) -> None:
        for one in self.running:
            one.end()


def _launch(
    server: Server, model_file: Path, alias: str, port: int, log: Path, place: Place
) -> EngineProcess:
    command = engine(server, model_file, alias, port, place)
    profile = profiler(server, log)
    if profile.note and not profile.runs:
        print(f"mls serve: profile {profile.note}.", file=sys.stderr, flush=True)
    parent = os.getpid()

    def in_child() -> None:
        die_with_parent(signal.SIGKILL, parent)
        move_to(place.cpus)

    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        out = log.open("wb")
    except OSError as error:
        raise unwritable(log, error) from None
    with out:
        try:
            process = subprocess.Popen(
                [*profile.argv, *command.argv],
                env=command.env,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=in_child,
            )
        except OSError as error:
            raise UserError(
                f"The server {command.argv[0]} can't be started: {error.strerror}."
            ) from None
    with contextlib.suppress(BrokenPipeError):  # It died already: its status says why
        _write_stdin(process, command.stdin)
    running = EngineProcess(
        process,
        server.host or LOOPBACK,
        port,
        log,
        command.server_argv,
        profile,
        place,
        secrets=Target("", api_key(server)).secrets,
    )
    return running if server.engine != "command" else replace(running, end_grace_s=_KEEPER_GRACE_S)


def _write_stdin(process: subprocess.Popen[bytes], data: bytes) -> None:
    if process.stdin is not None:
        with process.stdin as stdin:
            stdin.write(data)


def _wait_until_ready(
    running: EngineProcess, server: Server, signals: SignalWait, goes_on: Callable[[], bool]
) -> bool:
    deadline = time.monotonic() + server.startup_timeout_s
    of_any_kind = server.engine == "command"
    key = api_key(server)
    while reason := reason_to_wait(
        running.process.pid,
        running.port,
        f"{running.url}{server.ready}",
        {"Authorization": f"Bearer {key}"} if key and of_any_kind else {},
        with_children=of_any_kind or running.profiler.runs,
    ):
        if running.process.poll() is not None:
            raise UserError(_start_failure(running, server))
        if time.monotonic() > deadline:
            raise UserError(
                f"The server was not ready within {server.startup_timeout_s:g} s; raise "
                f"server.startup_timeout_s, or see its log {running.log} ({reason}{running.last_words()})."
            )
        if sig := signals.wait(_LOOK_AT_ALL_EVERY_S if of_any_kind else _LOOK_EVERY_S):
            raise EndSignalError(sig)
        if not goes_on():
            return False
    check_log(server, running.log)
    return True


def _start_failure(running: EngineProcess, server: Server) -> str:
    has_sentence = server.engine == "xllamacpp" and running.process.returncode == os.EX_USAGE
    if has_sentence:  # Its last line is a sentence for the user
        lines = running.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "The server refused its parameters."
    return f"The server died while starting: it {running.why_it_died()}."


def _port(server: Server, number: int) -> int:
    """The port of one server of a fleet. Raises `UserError` when none is free."""
    host = server.host or LOOPBACK
    if server.port is None:
        with socket.socket() as probe:
            try:
                probe.bind((host, 0))
            except OSError as error:
                raise UserError(
                    f"server.host: {host} can't be listened at ({error.strerror}); "
                    "give an address of this host."
                ) from None
            return int(probe.getsockname()[1])
    port = server.port + number
    if port > HIGHEST_PORT:
        raise UserError(
            f"server.port: {server.port} leaves too few ports for the fleet; give a lower one, "
            "or leave it out."
        )
    if not _is_free(host, port):
        raise UserError(
            f"server.port: {port} is taken by another program; stop it, "
            "or leave server.port out to use a free one."
        )
    return port


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise UserError(f"server.port: {port} can't be used ({error.strerror}).") from None
    return True
