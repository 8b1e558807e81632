"""The host: operating system, processor, memory."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mls.config.sections.pin import read_cpus, write_cpus

GIB = 1024**3
_CPU = Path("/sys/devices/system/cpu")
_NODES = Path("/sys/devices/system/node")


def describe() -> dict[str, Any]:
    """The host as recorded in `environment.json`. Memory is in GiB; an unknown value is null."""
    import psutil  # Each rank loads this module, and asks for neither this nor cores

    return {
        "name": socket.gethostname(),
        "os": _distribution(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": {
            "physical": psutil.cpu_count(logical=False),
            "logical": psutil.cpu_count(),
            "usable": usable_cores(),
        },
        "governor": governor(),
        "turbo": _turbo(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "virtual_machine": _virtual_machine(),
    }


def boot_id() -> str:
    """An identifier of the running host; containers of one host share it."""
    return _read(Path("/proc/sys/kernel/random/boot_id")) or socket.gethostname()


def clock_id() -> str:
    """An identifier of this process's `CLOCK_MONOTONIC`: the host, and the time namespace on it.

    A container may have a monotonic clock of its own, see time_namespaces(7).
    """
    try:
        namespace = Path("/proc/self/ns/time").readlink()
    except OSError:  # before Linux 5.6 there is one a host
        return boot_id()
    return f"{boot_id()} {namespace}"


def usable_cores(cpus: Collection[int] | None = None) -> int:
    """Physical cores that this process may use, by its affinity and its container's CPU quota.

    cpus: the CPUs of another process, which then count instead of this process's affinity.
    """
    import psutil

    if cpus is not None:
        count = len(cores(cpus))
    elif hasattr(os, "sched_getaffinity"):
        logical = len(os.sched_getaffinity(0))
        count = min(logical, psutil.cpu_count(logical=False) or logical)
    else:
        count = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    quota, _, period = (_read(Path("/sys/fs/cgroup/cpu.max")) or "max").partition(" ")
    if quota.isdigit() and period.isdigit():
        count = min(count, round(int(quota) / int(period)))
    return max(1, count)


def affinity() -> str | None:
    """The CPUs that this process may use, as `0-3,8`; None where the system doesn't say."""
    return write_cpus(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def cores(cpus: Collection[int]) -> list[frozenset[int]]:
    """The physical cores of these CPUs, in order; each core as the set of its CPUs among them.

    Where the kernel doesn't say which CPUs share a core, each CPU is a core. Linux only.
    """
    by_siblings: dict[str, set[int]] = {}
    for cpu in sorted(cpus):
        siblings = _read(_CPU / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        by_siblings.setdefault(siblings, set()).add(cpu)
    return [frozenset(threads) for threads in by_siblings.values()]


def numa_nodes(cpus: Collection[int]) -> list[frozenset[int]]:
    """The NUMA nodes of these CPUs; each node as the set of its CPUs among them.

    Where the kernel doesn't list its nodes, one node has all of these CPUs. Linux only.
    """
    paths = sorted(_NODES.glob("node[0-9]*/cpulist"), key=lambda path: int(path.parent.name[4:]))
    nodes = [read_cpus(text) & set(cpus) for path in paths if (text := _read(path))]
    return [node for node in nodes if node] or [frozenset(cpus)]


def governor() -> str | None:
    """The CPU frequency governor, or all of them when CPUs differ; None where there is none."""
    return _each_cpu("cpufreq/scaling_governor")


def cpu_model() -> str | None:
    """The processor's name as the kernel gives it."""
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "cpu model") and value.strip():
            return value.strip()
    return platform.processor() or None


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def _each_cpu(name: str) -> str | None:
    """The value that all CPUs share, or all their values; None where the kernel has none."""
    values = {_read(path) for path in _CPU.glob(f"cpu[0-9]*/{name}")}
    return ", ".join(sorted(value for value in values if value)) or None


def _turbo() -> bool | None:
    boost = _read(_CPU / "cpufreq/boost")
    if boost is not None:
        return boost == "1"
    no_turbo = _read(_CPU / "intel_pstate/no_turbo")
    return None if no_turbo is None else no_turbo == "0"


def _virtual_machine() -> bool | None:
    """Whether the host runs under a hypervisor, by x86's CPU flags; None without such flags."""
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("flags"):
            return "hypervisor" in line.split()
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
