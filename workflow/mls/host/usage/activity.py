"""What the host, the server's processes and the ranks are doing, by psutil."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator

import psutil

from mls.core.units import MIB

Sample = tuple[str, str, float]
"""(source, name, value): sources are host, server and ranks; `cpu` and `steal` are in cores."""

_LOOK_AGAIN_S = 2.0
_IDLE = ("idle", "iowait")
_PARTS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


class _Group:
    """Some processes, and how much CPU time each had used when it was last looked at."""

    def __init__(self) -> None:
        self._used_s: dict[psutil.Process, float] = {}

    def keep(self, processes: list[psutil.Process]) -> None:
        """These are the group's processes from now on."""
        for gone in self._used_s.keys() - set(processes):
            del self._used_s[gone]
        for process in processes:
            if process not in self._used_s:
                try:
                    self._used_s[process] = _cpu_s(process)
                except psutil.Error:
                    continue

    @property
    def pids(self) -> set[int]:
        return {process.pid for process in self._used_s}

    def sample(self) -> tuple[float, float] | None:
        """(CPU seconds since the last sample, resident MiB) of all; None without a process."""
        spent, resident = 0.0, 0.0
        for process, before in list(self._used_s.items()):
            try:
                with process.oneshot():
                    now = _cpu_s(process)
                    resident += process.memory_info().rss / MIB
            except psutil.Error:
                del self._used_s[process]
                continue
            spent += now - before
            self._used_s[process] = now
        return (spent, resident) if self._used_s else None


class Activity:
    """Samples the host, the engines' trees, and all else below one process but this one."""

    def __init__(self, below: int, engines: Collection[int]) -> None:
        """below: id of the process that started all; engines: the servers', where they are known.

        An engine that has died already is left out.
        """
        self._below = psutil.Process(below)
        self._engines = []
        for engine in engines:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._engines.append(psutil.Process(engine))
        self._server, self._ranks = _Group(), _Group()
        self._looked_s = -_LOOK_AGAIN_S
        self._sampled_s = time.monotonic()
        self._host = _host_s()

    @property
    def server_pids(self) -> set[int]:
        return self._server.pids

    def sample(self) -> Iterator[Sample]:
        """One sample; rates are over the time since the last one."""
        now = time.monotonic()
        if now - self._looked_s >= _LOOK_AGAIN_S:
            self._looked_s = now
            self._look()
        span, self._sampled_s = max(now - self._sampled_s, 1e-6), now
        host, self._host = self._host, _host_s()
        yield "host", "cpu", (self._host[0] - host[0]) / span
        yield "host", "steal", (self._host[1] - host[1]) / span
        yield "host", "memory_used_mib", psutil.virtual_memory().used / MIB
        for source, group in (("server", self._server), ("ranks", self._ranks)):
            found = group.sample()
            if found:
                yield source, "cpu", found[0] / span
                yield source, "memory_mib", found[1]

    def _look(self) -> None:
        """Find the processes; walking all of a host's costs too much for every sample."""
        try:
            everyone = self._below.children(recursive=True)
        except psutil.Error:
            return
        server = []
        for engine in self._engines:
            with contextlib.suppress(psutil.Error):  # it has died
                server += [engine, *engine.children(recursive=True)]
        theirs = {*server, psutil.Process()}
        self._server.keep(server)
        self._ranks.keep([process for process in everyone if process not in theirs])


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _host_s() -> tuple[float, float]:
    """(busy, stolen) seconds of all CPUs since the host's start."""
    times = psutil.cpu_times()._asdict()
    busy = sum(times.get(part, 0.0) for part in _PARTS if part not in _IDLE)
    return busy, times.get("steal", 0.0)
