"""The host's processes at one moment, and the CPU time of some that come and go."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import psutil


@dataclass(frozen=True)
class Entry:
    """A process, as far as it matters whose it is and what it used."""

    pid: int
    parent: int
    started_s: float = 0
    session: int = 0
    terminal: bool = False
    """Whether it is in a terminal."""
    own_s: float = 0
    """CPU time of its own, user and system."""
    waited_s: float = 0
    """CPU time of the children that it has waited for, and of theirs."""


Table = dict[int, Entry]
"""All processes, by id."""


def table() -> Table:
    """The processes as they are now."""
    known = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError), process.oneshot():  # it has ended
            times = process.cpu_times()
            known[process.pid] = Entry(
                process.pid,
                process.ppid(),
                process.create_time(),
                os.getsid(process.pid),
                process.terminal() is not None,
                times.user + times.system,
                times.children_user + times.children_system,
            )
    return known


def below(known: Table, tops: Iterable[int]) -> set[int]:
    """The processes `tops`, and all below them."""
    children: dict[int, list[int]] = {}
    for one in known.values():
        children.setdefault(one.parent, []).append(one.pid)
    inside: set[int] = set()
    ahead = [pid for pid in tops if pid in known]
    while ahead:
        pid = ahead.pop()
        if pid not in inside:
            inside.add(pid)
            ahead += children.get(pid, [])
    return inside


def above(known: Table, pid: int) -> list[int]:
    """The process and those that it is below, from itself upwards."""
    line: list[int] = []
    while pid in known and pid not in line:
        line.append(pid)
        pid = known[pid].parent
    return line


@dataclass
class Spent:
    """CPU time of some processes as a counter that never falls, however they come and go."""

    total_s: float = 0
    _seen: dict[tuple[int, float], Entry] = field(default_factory=dict)

    def add(self, known: Table, pids: Iterable[int]) -> float:
        """The counter, these being the processes now.

        What has ended since the last call has left its time to whoever waited for it. Where nobody
        did, that since the last call is lost.
        """
        now = {(known[pid].pid, known[pid].started_s): known[pid] for pid in pids if pid in known}
        none = Entry(0, 0)
        own_s = sum(one.own_s - self._seen.get(key, none).own_s for key, one in now.items())
        waited_s = sum(
            one.waited_s - self._seen.get(key, none).waited_s for key, one in now.items()
        )
        counted_s = sum(
            one.own_s + one.waited_s for key, one in self._seen.items() if key not in now
        )
        self.total_s += own_s + max(0.0, waited_s - counted_s)
        self._seen = now
        return self.total_s
