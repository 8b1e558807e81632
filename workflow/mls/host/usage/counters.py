"""What else happened on this host: counters of the kernel, before and after a load."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil

from mls.host.machine import governor
from mls.host.usage.foreign_servers import Foreign
from mls.host.usage.processes import Spent, below, table

SERVE_PID = "MLS_SERVE_PID"
"""Set by `mls serve`: its process, below which are the ranks and a managed server."""

_CPUS = Path("/sys/devices/system/cpu")


_LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
"""Launchers of MPI programs set one of these."""


class Noise:
    """Counters of this host, to be read before and after a load.

    urls: servers on this host that mls did not start.
    """

    def __init__(self, urls: list[str]) -> None:
        self._run = _root().pid
        self._servers = Foreign(urls, self._run) if urls else None
        self._ours, self._surely, self._perhaps = Spent(), Spent(), Spent()
        self.listeners: list[dict[str, Any]] = []
        """What is known of each of the servers, as of the last sample; see `Foreign.told`."""

    def sample(self) -> dict[str, Any]:
        """Counters as they stand now. CPU times in s, summed over all CPUs; null where there are none.

        `ours_s`: CPU time of this run's processes, those of a managed server among them. Where there
        are servers that mls did not start, `servers_s`: of the processes that are surely theirs, and
        `perhaps_s`: of those that may be theirs besides; null where these can't be told.
        """
        times = psutil.cpu_times()
        known = table()
        ours = below(known, [self._run])
        of_servers: dict[str, Any] = {}
        if self._servers:
            surely = self._servers.surely(known)
            perhaps = self._servers.perhaps(known) - surely - ours
            ours -= surely
            self.listeners = self._servers.told(known)
            hidden = any(one["hidden"] for one in self.listeners)
            of_servers = {
                "servers_s": self._surely.add(known, surely),
                "perhaps_s": None if hidden else self._perhaps.add(known, perhaps),
            }
        return {
            "monotonic_ns": time.monotonic_ns(),
            "boottime_ns": _boottime_ns(),
            # time in interrupts is not in it: it can't be told whose they are
            "busy_s": times.user + getattr(times, "nice", 0.0) + times.system,
            "all_s": sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0),
            "steal_s": getattr(times, "steal", 0.0),
            "ours_s": self._ours.add(known, ours),
            **of_servers,
            "swapped_bytes": _swapped(),
            "throttled": _throttled(),
            "governor": governor(),
        }


def _boottime_ns() -> int | None:
    """Time since boot; unlike `CLOCK_MONOTONIC` it goes on while the host is suspended. Linux only."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else None


def serves_here() -> bool:
    """Whether this process was started by a `mls serve` on this host."""
    pid = os.environ.get(SERVE_PID, "")
    return pid.isdigit() and int(pid) in {p.pid for p in psutil.Process().parents()}


def _root() -> psutil.Process:
    """The process that this run is below: `mls serve`, else what started the ranks, else this rank."""
    here = psutil.Process()
    if serves_here():
        return psutil.Process(int(os.environ[SERVE_PID]))
    # a rank without a launcher was started by a shell, below which is more than this run
    launched = any(name in os.environ for name in _LAUNCHED)
    return (here.parent() if launched else None) or here


def _swapped() -> int | None:
    try:
        swap = psutil.swap_memory()
    except (OSError, RuntimeError):
        return None
    return int(swap.sin + swap.sout)


def _throttled() -> int | None:
    """How often a core or package was slowed down for heat, since boot; null where it isn't told."""
    counts = []
    for path in _CPUS.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        try:
            counts.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return sum(counts) if counts else None
