"""The host's processes at one moment, and a counter of CPU time for processes that come and go."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import psutil


@dataclass(frozen=True)
class Entry:
    """A process: its place in the tree, its session, and its CPU time."""

    pid: int
    parent: int
    started_s: float = 0
    session: int = 0
    terminal: bool = False
    """Whether it has a controlling terminal."""
    own_s: float = 0
    """Its own CPU time, user and system."""
    waited_s: float = 0
    """CPU time of the children that it has waited for, and of the children that they waited for."""


Table = dict[int, Entry]
"""All processes of the host, by id."""


def table() -> Table:
    """The processes of the host now."""
    processes = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError), process.oneshot():  # it has ended
            times = process.cpu_times()
            processes[process.pid] = Entry(
                process.pid,
                process.ppid(),
                process.create_time(),
                os.getsid(process.pid),
                process.terminal() is not None,
                times.user + times.system,
                times.children_user + times.children_system,
            )
    return processes


def below(processes: Table, tops: Iterable[int]) -> set[int]:
    """The processes `tops`, and all below them."""
    children: dict[int, list[int]] = {}
    for one in processes.values():
        children.setdefault(one.parent, []).append(one.pid)
    inside: set[int] = set()
    ahead = [pid for pid in tops if pid in processes]
    while ahead:
        pid = ahead.pop()
        if pid not in inside:
            inside.add(pid)
            ahead += children.get(pid, [])
    return inside


def above(processes: Table, pid: int) -> list[int]:
    """The process and its ancestors, from itself upwards."""
    line: list[int] = []
    while pid in processes and pid not in line:
        line.append(pid)
        pid = processes[pid].parent
    return line


@dataclass
class CpuCounter:
    """A counter of CPU time in s that never falls, however its processes come and go."""

    total_s: float = 0
    _previous: dict[tuple[int, float], Entry] = field(default_factory=dict)

    def add(self, processes: Table, pids: Iterable[int]) -> float:
        """Count up to now, with `pids` as the present processes, and return the counter.

        The CPU time of a process that has ended since the last call is that of the process which
        waited for it. If none did, its time since the last call is lost.
        """
        now = {
            (processes[pid].pid, processes[pid].started_s): processes[pid]
            for pid in pids
            if pid in processes
        }
        none = Entry(0, 0)
        own_s = sum(one.own_s - self._previous.get(key, none).own_s for key, one in now.items())
        waited_s = sum(
            one.waited_s - self._previous.get(key, none).waited_s for key, one in now.items()
        )
        ended_s = sum(
            one.own_s + one.waited_s for key, one in self._previous.items() if key not in now
        )
        self.total_s += own_s + max(0.0, waited_s - ended_s)
        self._previous = now
        return self.total_s
