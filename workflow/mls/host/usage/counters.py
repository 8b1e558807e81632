"""Counters of the host's other activity, before and after a load."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil

from mls.host.machine import governor
from mls.host.usage.foreign_servers import Foreign
from mls.host.usage.processes import CpuCounter, below, table

SERVE_PID = "MLS_SERVE_PID"
"""Environment variable: the id of `mls serve`, whose tree has the ranks and a managed server."""

_CPUS = Path("/sys/devices/system/cpu")


_LAUNCHER_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
"""Environment variables: each MPI launcher sets one of them."""


class Noise:
    """Counters of this host, to be read before and after a load.

    urls: servers on this host that mls did not start.
    """

    def __init__(self, urls: list[str]) -> None:
        self._run = _root().pid
        self._servers = Foreign(urls, self._run) if urls else None
        self._ours, self._surely, self._perhaps = CpuCounter(), CpuCounter(), CpuCounter()
        self.listeners: list[dict[str, Any]] = []
        """Facts on each of the servers at the last sample, see `Foreign.facts`."""

    def sample(self) -> dict[str, Any]:
        """The counters now. CPU times are in s, summed over all CPUs; a missing counter is null.

        `ours_s` is the CPU time of this run's processes, a managed server included. With servers
        that mls did not start, `servers_s` is that of the processes which are surely theirs, and
        `perhaps_s` that of further ones which may be theirs; null where these can't be known.
        """
        times = psutil.cpu_times()
        processes = table()
        ours = below(processes, [self._run])
        of_servers: dict[str, Any] = {}
        if self._servers:
            surely = self._servers.surely(processes)
            perhaps = self._servers.perhaps(processes) - surely - ours
            ours -= surely
            self.listeners = self._servers.facts(processes)
            hidden = any(one["hidden"] for one in self.listeners)
            of_servers = {
                "servers_s": self._surely.add(processes, surely),
                "perhaps_s": None if hidden else self._perhaps.add(processes, perhaps),
            }
        return {
            "monotonic_ns": time.monotonic_ns(),
            "boottime_ns": _boottime_ns(),
            # Without time in interrupts, which belongs to no process
            "busy_s": times.user + getattr(times, "nice", 0.0) + times.system,
            "all_s": sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0),
            "steal_s": getattr(times, "steal", 0.0),
            "ours_s": self._ours.add(processes, ours),
            **of_servers,
            "swapped_bytes": _swap_bytes(),
            "throttled": _throttle_count(),
            "governor": governor(),
        }


def _boottime_ns() -> int | None:
    """Time since boot, which goes on while the host is suspended (`CLOCK_BOOTTIME`). Linux only."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else None


def serves_here() -> bool:
    """Whether this process is below an `mls serve` on this host."""
    pid = os.environ.get(SERVE_PID, "")
    return pid.isdigit() and int(pid) in {p.pid for p in psutil.Process().parents()}


def _root() -> psutil.Process:
    """The root of the run's processes: `mls serve`, else the ranks' launcher, else this rank."""
    here = psutil.Process()
    if serves_here():
        return psutil.Process(int(os.environ[SERVE_PID]))
    # The parent of a rank without a launcher is a shell, which may run other programs
    has_launcher = any(name in os.environ for name in _LAUNCHER_VARIABLES)
    return (here.parent() if has_launcher else None) or here


def _swap_bytes() -> int | None:
    try:
        swap = psutil.swap_memory()
    except (OSError, RuntimeError):
        return None
    return int(swap.sin + swap.sout)


def _throttle_count() -> int | None:
    """How often heat has slowed a core or package since boot; None where no kernel counts it."""
    counts = []
    for path in _CPUS.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        try:
            counts.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return sum(counts) if counts else None
