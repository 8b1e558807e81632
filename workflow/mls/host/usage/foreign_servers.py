"""The processes of servers on this host that mls did not start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psutil

from mls.host.usage.processes import Entry, Table, above, below, table
from mls.host.usage.sockets import Listener, listeners

_INIT = 1


@dataclass(frozen=True)
class Origin:
    """The roots of a server's processes, by id."""

    tops: frozenset[int] = frozenset()
    """Processes that are the server's, with all that is below them."""
    alone: frozenset[int] = frozenset()
    """Processes that are the server's, while those below them may be others'."""
    perhaps: frozenset[int] = frozenset()
    """Processes below which all may be the server's."""


def origin(processes: Table, holders: Collection[int], ours: int) -> Origin:
    """The roots of the server whose socket the processes `holders` hold.

    The holders and the processes below them are surely the server's. Several holders with one
    parent are one server's workers, so the parent is surely the server's as well. Processes beside
    the holders are perhaps the server's, as some engines run beside the process that listens: those
    below a program that is in the holders' session and is no terminal's shell.
    ours: the root of this run's processes. It and the processes above and below it are no such
    program. Where a holder is above it, the processes below the holder are not surely the server's.
    """
    line = {*above(processes, ours)}
    off_limits = line | below(processes, [ours])
    alone = {*holders} & (line | {_INIT})
    others = {*holders} - alone
    tops = {pid for pid in others if not {*above(processes, pid)[1:]} & others}
    parents = {processes[pid].parent for pid in tops}
    if (
        len(tops) > 1
        and len(parents) == 1
        and _server_parent(processes, min(tops), off_limits) in parents
    ):
        tops = parents
    perhaps = {_uppermost(processes, pid, off_limits) for pid in tops} | alone
    if _INIT in alone - line:  # it adopts others' orphans, which have sessions of their own
        tops |= {
            p.pid for p in processes.values() if p.parent == _INIT and _same_session(processes, p)
        }
    return Origin(frozenset(tops), frozenset(alone), frozenset(perhaps))


def _uppermost(processes: Table, pid: int, off_limits: set[int]) -> int:
    while (parent := _server_parent(processes, pid, off_limits)) is not None:
        pid = parent
    return pid


def _server_parent(processes: Table, pid: int, off_limits: set[int]) -> int | None:
    """The parent of a process where it may be part of the same server, else None."""
    parent = processes.get(processes[pid].parent)
    if parent is None or parent.pid in off_limits:
        return None
    shell = parent.terminal and parent.session == parent.pid
    return parent.pid if _same_session(processes, processes[pid]) and not shell else None


def _same_session(processes: Table, process: Entry) -> bool:
    """Whether a process is in its parent's session."""
    return processes[process.parent].session == process.session


class Foreign:
    """The servers at some URLs of this host, as they are when the object is made.

    ours: the root of this run's processes.
    """

    def __init__(self, urls: list[str], ours: int) -> None:
        processes = table() if urls else {}
        self._listeners = dict(zip(urls, listeners(urls), strict=True))
        self._origins = {url: _origin(processes, one, ours) for url, one in self._listeners.items()}
        self._processes = processes
        # Looked up at once, as a process may end later
        self._names = {
            pid: _name(pid)
            for url, one in self._listeners.items()
            for pid in one.pids | self._origins[url].perhaps
        }

    @property
    def tops(self) -> list[int]:
        """The roots of all servers; empty when those of any server are not known."""
        if any(one.hidden for one in self._listeners.values()):
            return []
        return sorted({pid for one in self._origins.values() for pid in one.tops})

    def surely(self, processes: Table) -> set[int]:
        """The processes that are surely the servers'."""
        each = self._origins.values()
        alone = {pid for one in each for pid in one.alone}
        return below(processes, [pid for one in each for pid in one.tops]) | alone

    def perhaps(self, processes: Table) -> set[int]:
        """The processes that may be the servers', including those that surely are."""
        return below(processes, [pid for one in self._origins.values() for pid in one.perhaps])

    def facts(self, processes: Table) -> list[dict[str, Any]]:
        """`{url, processes, perhaps_below, hidden, who}` of each URL.

        `processes` hold the server's socket. Processes below `perhaps_below` may be the server's.
        `hidden` is why its processes aren't known, or `ended` when one of them has ended since.
        """
        return [
            {
                "url": url,
                "processes": [self._names[pid] for pid in sorted(one.pids)],
                "perhaps_below": [self._names[pid] for pid in sorted(origin.perhaps - origin.tops)],
                "hidden": one.hidden or ("ended" if self._has_ended(origin, processes) else None),
                "who": one.who,
            }
            for (url, one), origin in zip(
                self._listeners.items(), self._origins.values(), strict=True
            )
        ]

    def _has_ended(self, origin: Origin, processes: Table) -> bool:
        """Whether a root of the server has ended since the object was made, or there is none."""
        now = {
            pid: processes[pid].started_s for pid in origin.tops | origin.alone if pid in processes
        }
        then = {pid: self._processes[pid].started_s for pid in origin.tops | origin.alone}
        return not then or now != then


def _origin(processes: Table, listener: Listener, ours: int) -> Origin:
    pids = listener.pids & processes.keys()
    if listener.hidden == "passed on":  # Nothing ties the processes below it to the server
        return Origin(alone=pids)
    return origin(processes, pids, ours)


def _name(pid: int) -> str:
    """The process for a reader: its name and id."""
    try:
        return f"{psutil.Process(pid).name()} {pid}"
    except psutil.Error:
        return str(pid)
