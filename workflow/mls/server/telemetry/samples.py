"""The sampler's start beside a run, and the samples that a run collects from it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mls.config.sections.server import Server
from mls.core.digest import PACKAGE
from mls.host.machine import clock_id
from mls.host.pinning import Cpus, move_to
from mls.host.processes.descendants import end_tree
from mls.host.processes.lifetime import die_with_parent

if TYPE_CHECKING:
    import pyarrow as pa

SOCKET_VARIABLE = "MLS_TELEMETRY"
_END_GRACE_S = 2
_READ_TIMEOUT_S = 30


class Sampler:
    """A sampler process, which waits until it is told what to sample."""

    def __init__(self, process: subprocess.Popen[bytes] | None, socket_path: str) -> None:
        """process: None where it couldn't be started. No run fails for want of telemetry."""
        self._process = process
        self._socket_path = socket_path

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that lead a run to it."""
        return {SOCKET_VARIABLE: self._socket_path} if self._process else {}

    def begin(
        self, server: Server, urls: list[str], engines: list[int], model: str | None = None
    ) -> None:
        """Sample from now on.

        engines: known ids of the servers' processes. model: the name in the requests, for servers
        that may have several.
        """
        parameters = {
            "socket": self._socket_path,
            "urls": urls,
            "below": os.getpid(),
            "engines": engines,
            "model": model,
            "server": server.model_dump(
                include={"api_key_env", "headers_env", "proxy", "url", "metrics_url"}
            ),
        }
        if self._process and self._process.stdin:
            with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
                stdin.write(json.dumps(parameters).encode())


@contextlib.contextmanager
def sampling(cpus: Cpus | None = None) -> Iterator[Sampler]:
    """A sampler process during the block, which loads what it needs before it is to `begin`.

    cpus: those of the sampler; None for any. The kernel kills it when this process ends.
    """
    parent = os.getpid()

    def in_child() -> None:
        die_with_parent(signal.SIGKILL, parent)
        move_to(cpus)

    with tempfile.TemporaryDirectory(prefix="mls-") as folder:
        where = str(Path(folder) / "telemetry")
        path = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "mls.server.telemetry.sampler"],
                env=os.environ | {"PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=in_child,
            )
        except OSError as error:
            print(f"mls serve: no telemetry: {error.strerror}.", file=sys.stderr)
            yield Sampler(None, where)
            return
        try:
            yield Sampler(process, where)
        finally:
            end_tree(process.pid, _END_GRACE_S)
            process.wait()
            if process.stdin:
                process.stdin.close()


def collect(begin_ns: int, end_ns: int) -> pa.Table | None:
    """The samples between two times of this host's monotonic clock, by the schema `TELEMETRY`.

    None without a sampler, as with `mls run` by itself, or when it runs on another host.
    """
    import pyarrow as pa  # `mls serve` starts a sampler, and needs no table

    from mls.core.record import TELEMETRY

    where = os.environ.get(SOCKET_VARIABLE)
    message = _receive(where) if where else None
    if message is None or message["clock_id"] != clock_id():
        return None
    columns: dict[str, list[Any]] = {name: [] for name in TELEMETRY.names}
    for series in message["series"]:
        for at_ns, value in zip(series["at_ns"], series["value"], strict=True):
            if begin_ns <= at_ns <= end_ns:
                columns["at_ns"].append(at_ns)
                columns["source"].append(series["source"])
                columns["name"].append(series["name"])
                columns["value"].append(value)
    order = [("at_ns", "ascending"), ("source", "ascending"), ("name", "ascending")]
    return pa.table(columns, schema=TELEMETRY).sort_by(order)


def _receive(where: str) -> dict[str, Any] | None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_READ_TIMEOUT_S)
            client.connect(where)
            parts = []
            while part := client.recv(1 << 20):
                parts.append(part)
        message: dict[str, Any] = json.loads(b"".join(parts))
    except (OSError, ValueError):
        return None
    return message
