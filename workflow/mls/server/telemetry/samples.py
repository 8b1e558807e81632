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


@contextlib.contextmanager
def sampling(
    server: Server,
    urls: list[str],
    engines: list[int],
    cpus: Cpus | None = None,
    model: str | None = None,
) -> Iterator[dict[str, str]]:
    """Run a sampler during the block. Yields the environment variables that lead a run to it.

    engines: known ids of the servers' processes. cpus: those of the sampler; None for any. model:
    the name in the requests, for servers that may have several. The kernel kills the sampler when
    this process ends. Where the sampler can't be started there are no variables: no run fails for
    want of telemetry.
    """
    parent = os.getpid()

    def in_child() -> None:
        die_with_parent(signal.SIGKILL, parent)
        move_to(cpus)

    with tempfile.TemporaryDirectory(prefix="mls-") as folder:
        where = str(Path(folder) / "telemetry")
        parameters = {
            "socket": where,
            "urls": urls,
            "below": parent,
            "engines": engines,
            "model": model,
            "server": server.model_dump(
                include={"api_key_env", "headers_env", "proxy", "url", "metrics_url"}
            ),
        }
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
            yield {}
            return
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
                stdin.write(json.dumps(parameters).encode())
            yield {SOCKET_VARIABLE: where}
        finally:
            end_tree(process.pid, _END_GRACE_S)
            process.wait()


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
