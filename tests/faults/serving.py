"""`serve` in a process of its own, and waits for its processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from tests.living import living

DEADLINE_S = 60
_DRIVER = """
import json, sys
from pathlib import Path
from mls.host.pinning import CpuSets
from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.server.engine.managed import serve
arguments = json.loads(sys.argv[1])
model = Path(arguments["model"]) if arguments["model"] else None
server, pinned = Server(**arguments["server"]), CpuSets(*map(frozenset, arguments["pinned"]))
try:
    log, at_once = Path(arguments["log"]), arguments["at_once"]
    sys.exit(serve(server, model, "m", sys.argv[2:], log, pinned=pinned, at_once=at_once))
except UserError as error:
    print("UserError:", error, file=sys.stderr)
    sys.exit(1)
"""


COMMAND = [sys.executable, "-m", "tests.servers.two_processes", "--port", "{port}"]


class Serve:
    """One `serve` process, and the ids of the processes that it started."""

    def __init__(self, folder: Path, model: Path | None) -> None:
        self.log = folder / "server.log"
        self._ids = folder / "ids"
        self._release = folder / "release"
        self.until_release = f"while [ ! -e {self._release} ]; do sleep 0.05; done"
        self._model = model
        self.process: subprocess.Popen[str] | None = None

    def start(
        self,
        *command: str,
        before: Callable[[], None] = lambda: None,
        pinned: Sequence[Sequence[int]] = (),
        at_once: bool = False,
        **server: Any,
    ) -> subprocess.Popen[str]:
        arguments = {
            "model": str(self._model) if self._model else None,
            # one thread: two threads on shared cores wait for each other
            "server": {"parallel": 2, "ctx": 512, "threads": 1} | server,
            "log": str(self.log),
            "pinned": pinned,
            "at_once": at_once,
        }

        def in_child() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
            before()

        self.process = subprocess.Popen(
            [sys.executable, "-c", _DRIVER, json.dumps(arguments), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=in_child,
        )
        return self.process

    def run(self, *command: str, **options: Any) -> tuple[int, str, str]:
        process = self.start(*command, **options)
        out, err = process.communicate(timeout=DEADLINE_S)
        return process.returncode, out, err

    def release(self) -> None:
        """Let a command go on that waits with `until_release`."""
        self._release.touch()

    def start_and_wait(self, then: str) -> tuple[psutil.Process, psutil.Process, psutil.Process]:
        """(serve, command, engine), once the command runs: a shell that goes on with `then`."""
        # By the shell itself: another program would be a child beside those of `then`
        script = f'echo "$$ $MLS_SERVER_PID" > {self._ids}; {then}'
        process = self.start("sh", "-c", script)
        wait_until(lambda: self._ids.exists() and self._ids.read_text().endswith("\n"))
        command, engine = map(int, self._ids.read_text().split())
        return psutil.Process(process.pid), psutil.Process(command), psutil.Process(engine)


class ServeCommand(Serve):
    """`serve` with the command, or with another."""

    def start(self, *command: str, **options: Any) -> Any:
        engine = {"engine": "command", "command": COMMAND, "parallel": 8, "ctx": 8192}
        return super().start(*command, **engine | {"threads": None} | options)

    def members(self) -> list[psutil.Process]:
        """The processes of the server, once all of them are there."""
        assert self.process
        running = psutil.Process(self.process.pid)

        def keepers() -> list[psutil.Process]:
            return [one for one in running.children() if "mls.server.engine.keeper" in line(one)]

        wait_until(lambda: any(len(one.children(recursive=True)) > 2 for one in keepers()))
        (keeper,) = keepers()
        return [keeper, *keeper.children(recursive=True)]


def line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def assert_gone(*processes: psutil.Process) -> None:
    """None of the processes runs longer than DEADLINE_S from now."""
    assert living(processes, DEADLINE_S) == []


def wait_for_children(process: psutil.Process, count: int = 1) -> list[psutil.Process]:
    """The children of a process, once there are at least `count`."""
    wait_until(lambda: len(process.children()) >= count)
    return process.children()
