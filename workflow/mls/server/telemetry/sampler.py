"""The sampler's process: one a host, beside the ranks. `python -m mls.server.telemetry.sampler`.

Samples cards, host and processes at 5 Hz and the server's `/metrics` at 1 Hz, keeps the samples
in memory, and hands them to whoever connects to its socket.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import threading
import time
from array import array
from dataclasses import dataclass, field
from typing import Any

from mls.config.sections.run import Run
from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.gpu.telemetry import Cards
from mls.host.machine import clock_id
from mls.host.usage.activity import Activity
from mls.server.access import target_of
from mls.server.api import ServerApi
from mls.server.several import summed

EVERY_S = 0.2
METRICS_EVERY_S = 1.0
_METRICS_TIMEOUT_S = 5
_METRICS_OF = "llamacpp:"


@dataclass
class _Series:
    at_ns: array[int] = field(default_factory=lambda: array("q"))
    value: array[float] = field(default_factory=lambda: array("d"))


class Samples:
    """All samples so far, by source and name. Two threads add to it, each series from one."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._lock = threading.Lock()

    def add(self, at_ns: int, source: str, name: str, value: float) -> None:
        """Add one sample of one figure."""
        with self._lock:
            series = self._series.setdefault((source, name), _Series())
            series.at_ns.append(at_ns)
            series.value.append(value)

    def told(self) -> bytes:
        """`{clock_id, series: [{source, name, at_ns, value}]}` as JSON."""
        with self._lock:
            series = [
                {"source": s, "name": n, "at_ns": one.at_ns.tolist(), "value": one.value.tolist()}
                for (s, n), one in self._series.items()
            ]
        return json.dumps({"clock_id": clock_id(), "series": series}).encode()


def sample(listener: socket.socket, activity: Activity, samples: Samples) -> None:
    """Sample for as long as this process lives, and answer who connects meanwhile."""
    cards = Cards()
    due = time.monotonic()
    while True:
        at_ns = time.monotonic_ns()
        for source, name, value in activity.sample():
            samples.add(at_ns, source, name, value)
        for source, name, value in cards.sample(activity.server_pids):
            samples.add(at_ns, source, name, value)
        due = max(due + EVERY_S, time.monotonic())  # what was missed is not made up for
        while (left := due - time.monotonic()) > 0:
            if select.select([listener], [], [], left)[0]:
                asker, _ = listener.accept()
                with asker, contextlib.suppress(OSError):
                    asker.sendall(samples.told())


def watch_metrics(apis: list[ServerApi], samples: Samples) -> None:
    """Sample `/metrics`, summed over the servers, until one turns out to have none."""
    while True:
        try:
            each = [api.metrics() for api in apis]
        except UserError:  # busy, or not there any more
            each = [{}]
        if None in each:
            return
        found = summed(each) or {}
        at_ns = time.monotonic_ns()
        for name, value in found.items():
            if name.startswith(_METRICS_OF):
                samples.add(at_ns, "metrics", name.removeprefix(_METRICS_OF), value)
        time.sleep(METRICS_EVERY_S)


def main() -> int:
    """Told on standard input: `{socket, urls, below, engines, server}`."""
    told: dict[str, Any] = json.load(sys.stdin)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(told["socket"])
    listener.listen()
    samples = Samples()
    with contextlib.suppress(UserError):  # without the key the run itself says so
        server, run = Server(**told["server"]), Run(transport="requests")
        targets = [target_of(url, server, run) for url in told["urls"]]
        apis = [ServerApi(target, _METRICS_TIMEOUT_S) for target in targets]
        threading.Thread(target=watch_metrics, args=(apis, samples), daemon=True).start()
    sample(listener, Activity(told["below"], told["engines"]), samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
