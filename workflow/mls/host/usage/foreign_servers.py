"""Servers on this host that mls did not start: which processes are theirs."""

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
    """Where a server's processes come from."""

    tops: frozenset[int] = frozenset()
    """These are the server's with all that is below them."""
    alone: frozenset[int] = frozenset()
    """These are the server's, but what is below them may be others'."""
    perhaps: frozenset[int] = frozenset()
    """What is below these may be the server's."""


def origin(known: Table, holders: Collection[int], ours: int) -> Origin:
    """Which processes are those of the server whose socket `holders` hold.

    Surely: the holders and what is below them. Several that listen beside one another are one server's
    workers, so what started them is, too. Perhaps: what was started beside them, by a program that
    runs in their session and is no terminal's shell; some servers' engines run beside what listens.
    ours: the process that this run is below; what that is below of is not the server's alone.
    """
    line = {*above(known, ours)}
    barred = line | below(known, [ours])
    alone = {*holders} & (line | {_INIT})
    rest = {*holders} - alone
    tops = {pid for pid in rest if not {*above(known, pid)[1:]} & rest}
    parents = {known[pid].parent for pid in tops}
    if len(tops) > 1 and len(parents) == 1 and _started(known, min(tops), barred) in parents:
        tops = parents
    perhaps = {_uppermost(known, pid, barred) for pid in tops} | alone
    if _INIT in alone - line:  # it adopts others' orphans, which have sessions of their own
        tops |= {p.pid for p in known.values() if p.parent == _INIT and _same_session(known, p)}
    return Origin(frozenset(tops), frozenset(alone), frozenset(perhaps))


def _uppermost(known: Table, pid: int, barred: set[int]) -> int:
    while (parent := _started(known, pid, barred)) is not None:
        pid = parent
    return pid


def _started(known: Table, pid: int, barred: set[int]) -> int | None:
    """The parent, where it may be a part of the same server; else None."""
    parent = known.get(known[pid].parent)
    if parent is None or parent.pid in barred:
        return None
    shell = parent.terminal and parent.session == parent.pid
    return parent.pid if _same_session(known, known[pid]) and not shell else None


def _same_session(known: Table, process: Entry) -> bool:
    """Whether it is in its parent's session."""
    return known[process.parent].session == process.session


class Foreign:
    """The servers at some URLs of this host, as they are found when this is made.

    ours: the process that this run is below.
    """

    def __init__(self, urls: list[str], ours: int) -> None:
        known = table() if urls else {}
        self._listeners = dict(zip(urls, listeners(urls), strict=True))
        self._origins = {url: _origin(known, one, ours) for url, one in self._listeners.items()}
        self._known = known
        # asked now: later they may have ended
        self._names = {
            pid: _name(pid)
            for url, one in self._listeners.items()
            for pid in one.pids | self._origins[url].perhaps
        }

    @property
    def tops(self) -> list[int]:
        """The processes below which all are the servers'; none when not all of these are known."""
        if any(one.hidden for one in self._listeners.values()):
            return []
        return sorted({pid for one in self._origins.values() for pid in one.tops})

    def surely(self, known: Table) -> set[int]:
        """Those of the processes that are the servers'."""
        each = self._origins.values()
        alone = {pid for one in each for pid in one.alone}
        return below(known, [pid for one in each for pid in one.tops]) | alone

    def perhaps(self, known: Table) -> set[int]:
        """Those that may be the servers', the sure ones among them."""
        return below(known, [pid for one in self._origins.values() for pid in one.perhaps])

    def told(self, known: Table) -> list[dict[str, Any]]:
        """Of each URL: its processes, what may be theirs is below, and why they aren't known if not.

        That a process has ended meanwhile is a reason, too.
        """
        return [
            {
                "url": url,
                "processes": [self._names[pid] for pid in sorted(one.pids)],
                "perhaps_below": [self._names[pid] for pid in sorted(origin.perhaps - origin.tops)],
                "hidden": one.hidden or ("ended" if self._ended(origin, known) else None),
                "who": one.who,
            }
            for (url, one), origin in zip(
                self._listeners.items(), self._origins.values(), strict=True
            )
        ]

    def _ended(self, origin: Origin, known: Table) -> bool:
        """Whether one of the processes that started all others has."""
        now = {pid: known[pid].started_s for pid in origin.tops | origin.alone if pid in known}
        then = {pid: self._known[pid].started_s for pid in origin.tops | origin.alone}
        return not then or now != then


def _origin(known: Table, listener: Listener, ours: int) -> Origin:
    pids = listener.pids & known.keys()
    if listener.hidden == "passed on":  # what is below is no more the server's than anything else
        return Origin(alone=pids)
    return origin(known, pids, ours)


def _name(pid: int) -> str:
    """The process for people: its name and id."""
    try:
        return f"{psutil.Process(pid).name()} {pid}"
    except psutil.Error:
        return str(pid)
