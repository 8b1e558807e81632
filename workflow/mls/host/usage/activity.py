"""Samples of CPU time and memory of the host, of the server's processes and of the ranks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator

import psutil

from mls.core.units import MIB

Sample = tuple[str, str, float]
"""(source, name, value). Sources are host, server and ranks; `cpu` and `steal` are in cores."""

_LOOK_AGAIN_S = 2.0
_IDLE = ("idle", "iowait")
_PARTS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


class _Group:
    """A group of processes, each with its CPU time at the last sample."""

    def __init__(self) -> None:
        self._totals_s: dict[psutil.Process, float] = {}

    def keep(self, processes: list[psutil.Process]) -> None:
        """Make these the processes of the group; those that stay keep their last CPU time."""
        for process in self._totals_s.keys() - set(processes):
            del self._totals_s[process]
        for process in processes:
            if process not in self._totals_s:
                try:
                    self._totals_s[process] = _cpu_s(process)
                except psutil.Error:
                    continue

    @property
    def pids(self) -> set[int]:
        return {process.pid for process in self._totals_s}

    def sample(self) -> tuple[float, float] | None:
        """(CPU seconds since the last sample, resident MiB) of the group; None if it is empty."""
        cpu_s, memory_mib = 0.0, 0.0
        for process, before in list(self._totals_s.items()):
            try:
                with process.oneshot():
                    now = _cpu_s(process)
                    memory_mib += process.memory_info().rss / MIB
            except psutil.Error:
                del self._totals_s[process]
                continue
            cpu_s += now - before
            self._totals_s[process] = now
        return (cpu_s, memory_mib) if self._totals_s else None


class Activity:
    """Samples of the host, of the servers' process trees, and of the ranks.

    The ranks are all other processes below one process, without this process.
    """

    def __init__(self, below: int, engines: Collection[int]) -> None:
        """below: id of the process above all ranks. engines: known ids of the servers.

        An engine that has ended already is left out.
        """
        self._below = psutil.Process(below)
        self._engines = []
        for engine in engines:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._engines.append(psutil.Process(engine))
        self._server, self._ranks = _Group(), _Group()
        self._look_s = -_LOOK_AGAIN_S
        self._sample_s = time.monotonic()
        self._host = _host_s()

    @property
    def server_pids(self) -> set[int]:
        return self._server.pids

    def sample(self) -> Iterator[Sample]:
        """One sample. Rates are over the time since the last sample."""
        now = time.monotonic()
        if now - self._look_s >= _LOOK_AGAIN_S:
            self._look_s = now
            self._look()
        span, self._sample_s = max(now - self._sample_s, 1e-6), now
        host, self._host = self._host, _host_s()
        yield "host", "cpu", (self._host[0] - host[0]) / span
        yield "host", "steal", (self._host[1] - host[1]) / span
        yield "host", "memory_used_mib", psutil.virtual_memory().used / MIB
        for source, group in (("server", self._server), ("ranks", self._ranks)):
            usage = group.sample()
            if usage:
                yield source, "cpu", usage[0] / span
                yield source, "memory_mib", usage[1]

    def _look(self) -> None:
        """Find the processes of both groups. For every sample this would cost too much."""
        try:
            everyone = self._below.children(recursive=True)
        except psutil.Error:
            return
        server = []
        for engine in self._engines:
            with contextlib.suppress(psutil.Error):  # it has died
                server += [engine, *engine.children(recursive=True)]
        not_ranks = {*server, psutil.Process()}
        self._server.keep(server)
        self._ranks.keep([process for process in everyone if process not in not_ranks])


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _host_s() -> tuple[float, float]:
    """(busy, stolen) seconds of all CPUs since the host's start."""
    times = psutil.cpu_times()._asdict()
    busy = sum(times.get(part, 0.0) for part in _PARTS if part not in _IDLE)
    return busy, times.get("steal", 0.0)
