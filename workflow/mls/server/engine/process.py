"""A managed engine's process, or those of a fleet, from the start until all are healthy."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.core.files import unwritable
from mls.host.lifetime import die_with_parent, end_tree
from mls.host.pinning import move_to
from mls.host.signals import SignalWait
from mls.server.engine.command import LOOPBACK, engine
from mls.server.engine.log import decisive_line, how_it_ended
from mls.server.engine.placement import ANYWHERE, Place
from mls.server.engine.profiler import Profiler, profiler

_LOOK_EVERY_S = 0.05
_PORT_TRIES = 3
HIGHEST_PORT = 65535
_END_GRACE_S = 5
_REPORT_GRACE_S = 120


class AskedToEndError(Exception):
    """A signal asked this process to end while it was waiting for the server."""

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
    """Its own command line, without a profiler's."""
    profiler: Profiler
    place: Place

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def why_it_died(self) -> str | None:
        """One sentence, once it has ended; None as long as it runs."""
        status = self.process.poll()
        if status is None:
            return None
        line = decisive_line(self.log)
        said = f", and its log says: {line}" if line else ""
        return f"{how_it_ended(status)}{said}; see {self.log}"

    def end(self) -> None:
        """End it, and wait until it has."""
        if self.profiler.runs:  # it writes its report when the engine has ended
            self._interrupt()
        end_tree(self.process.pid, _END_GRACE_S)
        self.process.wait()
        if lost := self.profiler.lost():
            print(f"mls serve: profile: {lost}.", file=sys.stderr, flush=True)

    def _interrupt(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, subprocess.TimeoutExpired):
            for below in psutil.Process(self.process.pid).children(recursive=True):
                if below.cmdline() == self.argv:
                    below.send_signal(signal.SIGINT)
            self.process.wait(_REPORT_GRACE_S)


def start(
    server: Server,
    model_file: Path,
    alias: str,
    log: Path,
    signals: SignalWait,
    where: Sequence[Place] = (ANYWHERE,),
) -> list[EngineProcess]:
    """Start an engine at each place, all at once, and wait until they are healthy.

    They are killed by the kernel when this process ends, and have sessions of their own: a
    terminal's Ctrl-C reaches them through this process only. log: of the first; the others' have its
    name and their number. Raises `UserError` when one can't be started, dies or isn't ready in time;
    `AskedToEndError` when a signal came first. Nothing is left running then.
    """
    if not model_file.exists():
        raise UserError(f"Model file {model_file} is missing; check its path.")

    def launch(number: int) -> EngineProcess:
        own = log.with_name(f"{log.name}.{number + 1}") if number else log
        return _launch(server, model_file, alias, _port(server, number), own, where[number])

    running: list[EngineProcess] = []
    try:
        for number in range(len(where)):
            running.append(launch(number))  # noqa: PERF401 (those before one that fails must be known)
        for number in range(len(where)):
            for attempt in range(1, _PORT_TRIES + 1):
                try:
                    _wait_until_healthy(running[number], server, signals)
                    break
                except UserError:
                    lost = running[number]
                    lost.end()
                    # someone took the free port before the engine could
                    lost_port = server.port is None and not _is_free(lost.host, lost.port)
                    if not lost_port or attempt == _PORT_TRIES:
                        raise
                    running[number] = launch(number)
    except BaseException:
        end_all(running)
        raise
    return running


def end_all(engines: Iterable[EngineProcess]) -> None:
    """End them, and wait until they have."""
    for one in engines:
        one.end()


def _launch(
    server: Server, model_file: Path, alias: str, port: int, log: Path, place: Place
) -> EngineProcess:
    what = engine(server, model_file, alias, port, place)
    profile = profiler(server, log)
    if profile.said and not profile.runs:
        print(f"mls serve: profile {profile.said}.", file=sys.stderr, flush=True)
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
                [*profile.argv, *what.argv],
                env=what.env,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=in_child,
            )
        except OSError as error:
            raise UserError(
                f"The server {what.argv[0]} can't be started: {error.strerror}."
            ) from None
    with contextlib.suppress(BrokenPipeError):  # it died already: its status says why
        _tell(process, what.stdin)
    return EngineProcess(process, server.host or LOOPBACK, port, log, what.argv, profile, place)


def _tell(process: subprocess.Popen[bytes], data: bytes) -> None:
    if process.stdin is not None:
        with process.stdin as stdin:
            stdin.write(data)


def _wait_until_healthy(running: EngineProcess, server: Server, signals: SignalWait) -> None:
    deadline = time.monotonic() + server.startup_timeout_s
    while not _is_healthy(running):
        if running.process.poll() is not None:
            raise UserError(_why_not_started(running))
        if time.monotonic() > deadline:
            raise UserError(
                f"The server was not ready within {server.startup_timeout_s:g} s; raise "
                f"server.startup_timeout_s, or see its log {running.log}."
            )
        if sig := signals.wait(_LOOK_EVERY_S):
            raise AskedToEndError(sig)


def _is_healthy(running: EngineProcess) -> bool:
    """Whether `/health` says so, and it is this engine that answers on the port."""
    try:
        root = psutil.Process(running.process.pid)
        tree = [root, *root.children(recursive=True)] if running.profiler.runs else [root]
        sockets = [s for process in tree for s in process.net_connections("tcp")]
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # can't be told here; the answer has to do
        pass
    else:
        listening = {c.laddr.port for c in sockets if c.status == psutil.CONN_LISTEN}
        if running.port not in listening:
            return False
    with requests.Session() as session, contextlib.suppress(requests.RequestException):
        session.trust_env = False
        return session.get(f"{running.url}/health", timeout=2).status_code == requests.codes.ok
    return False


def _why_not_started(running: EngineProcess) -> str:
    if running.process.returncode == os.EX_USAGE:  # its last line is a sentence for the user
        lines = running.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "The server refused its parameters."
    return f"The server died while starting: it {running.why_it_died()}."


def _port(server: Server, number: int) -> int:
    """Of the server of that number of a fleet."""
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
