"""The sampler: one process a host, beside the ranks. `python -m mls.server.telemetry.sampler`.

It samples cards, host and processes at 5 Hz and the server's own figures at 1 Hz, keeps the samples
in memory, and sends them to each client of its socket.
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
from mls.host.usage.energy import CpuEnergy
from mls.protocol.engines.registry import by_samples
from mls.server.access import target_of
from mls.server.api import ServerApi
from mls.server.several import summed
from mls.server.telemetry.figures import BUSY, LoadFigures

EVERY_S = 0.2
FIGURES_EVERY_S = 1.0
_FIGURES_TIMEOUT_S = 5
_OF_HISTOGRAMS = ("_sum", "_count")


@dataclass
class _Series:
    at_ns: array[int] = field(default_factory=lambda: array("q"))
    value: array[float] = field(default_factory=lambda: array("d"))


class Samples:
    """All samples so far, by source and name. Two threads add samples, each to its own series."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._lock = threading.Lock()

    def add(self, at_ns: int, source: str, name: str, value: float) -> None:
        """Add one sample of a figure. at_ns: by `CLOCK_MONOTONIC` of this host."""
        with self._lock:
            series = self._series.setdefault((source, name), _Series())
            series.at_ns.append(at_ns)
            series.value.append(value)

    def as_json(self) -> bytes:
        """`{clock_id, series: [{source, name, at_ns, value}]}`; at_ns and value are lists."""
        with self._lock:
            series = [
                {"source": s, "name": n, "at_ns": one.at_ns.tolist(), "value": one.value.tolist()}
                for (s, n), one in self._series.items()
            ]
        return json.dumps({"clock_id": clock_id(), "series": series}).encode()


def sample(listener: socket.socket, activity: Activity, samples: Samples) -> None:
    """Sample as long as this process lives, and send the samples to each client meanwhile."""
    cards, cpu_energy = Cards(), CpuEnergy()
    due = time.monotonic()
    while True:
        at_ns = time.monotonic_ns()
        for source, name, value in activity.sample():
            samples.add(at_ns, source, name, value)
        joules = cpu_energy.joules()
        if joules is not None:
            samples.add(at_ns, "host", "energy_j", joules)
        for source, name, value in cards.sample(activity.server_pids):
            samples.add(at_ns, source, name, value)
        due = max(due + EVERY_S, time.monotonic())  # Missed samples aren't made up for
        while (remaining_s := due - time.monotonic()) > 0:
            if select.select([listener], [], [], remaining_s)[0]:
                client, _ = listener.accept()
                with client, contextlib.suppress(OSError):
                    client.sendall(samples.as_json())


def watch_figures(servers: list[LoadFigures], samples: Samples) -> None:
    """Sample the servers' own figures, summed over them, until one proves to have none.

    Sums and counts of histograms are left out: they are taken before and after a run.
    """
    while True:
        each = [server.sample() for server in servers]
        if None in each:
            return
        figures = summed(each) or {}
        prefix = by_samples(figures).prefix
        at_ns = time.monotonic_ns()
        for name, value in figures.items():
            if name == BUSY:
                samples.add(at_ns, "slots", "busy", value)
            elif name.startswith(prefix) and not name.endswith(_OF_HISTOGRAMS):
                samples.add(at_ns, "metrics", name.removeprefix(prefix), value)
        time.sleep(FIGURES_EVERY_S)


def watch(apis: list[ServerApi], samples: Samples, model: str | None) -> None:
    """`watch_figures` of servers that are yet to be told apart by what they say."""
    watch_figures([LoadFigures(api, model) for api in apis], samples)


def main() -> int:
    """Sample as standard input says: `{socket, urls, below, engines, model, server}` as JSON."""
    text = sys.stdin.read()
    if not text:  # The process that would have written it is gone
        return 0
    parameters: dict[str, Any] = json.loads(text)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(parameters["socket"])
    listener.listen()
    samples = Samples()
    with contextlib.suppress(UserError):  # Of a missing key, which the run reports itself
        server, run = Server(**parameters["server"]), Run(transport="requests")
        targets = [target_of(url, server, run) for url in parameters["urls"]]
        apis = [
            ServerApi(target, _FIGURES_TIMEOUT_S, metrics_url=server.metrics_url)
            for target in targets
        ]
        arguments = (apis, samples, parameters["model"])
        threading.Thread(target=watch, args=arguments, daemon=True).start()
    sample(listener, Activity(parameters["below"], parameters["engines"]), samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
