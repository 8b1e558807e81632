"""The sessions of a trace of agents: which of its rows are sent after which."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from mls.load.workload.conversations.turns import Step


@dataclass(frozen=True)
class SessionRows:
    """Sessions of consecutive rows of a trace, a step for each.

    The jobs of a session begin at a multiple of the longest one's length, so a shorter one leaves
    some numbers out. Sessions beyond the file's are its sessions again.
    """

    steps: tuple[tuple[Step, ...], ...]

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def longest(self) -> int:
        return max(map(len, self.steps))

    @cached_property
    def _first(self) -> list[int]:
        """The row with which each session begins, and the number of all rows."""
        return list(itertools.accumulate(map(len, self.steps), initial=0))

    def place(self, job: int) -> tuple[int, int, int]:
        """(session, number of the step, number of the row among those of all sessions so far)."""
        session, number = divmod(job, self.longest)
        again, own = divmod(session, len(self))
        return session, number, again * self._first[-1] + self._first[own] + number

    def of(self, session: int) -> tuple[Step, ...]:
        return self.steps[session % len(self)]

    def jobs(self, sessions: int) -> Iterator[int]:
        """The jobs of the first so many sessions, in their order."""
        for session in range(sessions):
            begin = session * self.longest
            yield from range(begin, begin + len(self.of(session)))
