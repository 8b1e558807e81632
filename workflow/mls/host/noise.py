"""What else happened on this host: counters of the kernel, to be read before and after a load."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil

from mls.host.machine import governor

SERVE_PID = "MLS_SERVE_PID"
"""Set by `mls serve`: its process, below which are the ranks and a managed server."""

_CPUS = Path("/sys/devices/system/cpu")


def sample() -> dict[str, Any]:
    """Counters as they stand now. CPU times in s, summed over all CPUs; null where there are none.

    `ours_s`: CPU time of this run's processes, those of a managed server among them.
    """
    times = psutil.cpu_times()
    return {
        "monotonic_ns": time.monotonic_ns(),
        "boottime_ns": _boottime_ns(),
        # time in interrupts is not in it: it can't be told whose they are
        "busy_s": times.user + getattr(times, "nice", 0.0) + times.system,
        "all_s": sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0),
        "steal_s": getattr(times, "steal", 0.0),
        "ours_s": _cpu_s(_root()),
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
    """The process that this run is below: `mls serve`, else what started this rank."""
    here = psutil.Process()
    if serves_here():
        return psutil.Process(int(os.environ[SERVE_PID]))
    return here.parent() or here


def _cpu_s(root: psutil.Process) -> float:
    """CPU time of a process and all below it, with those that have ended."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += sum(process.cpu_times()[:4])  # own and waited-for children's, user and system
        except psutil.NoSuchProcess:
            continue
    return total


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
