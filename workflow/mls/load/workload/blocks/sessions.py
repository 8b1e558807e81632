"""The sessions of a trace of agents: which of its rows are sent one after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SessionRows:
    """Sessions of consecutive rows: number `s` has those from `first[s]` to before `first[s + 1]`.

    delay_s: the pause before each row, NaN where the file has none. The jobs of a session begin at
    a multiple of the longest one's length, so a shorter one leaves some numbers out. Sessions beyond
    the file's are its sessions again.
    """

    first: NDArray[np.int64]
    delay_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def longest(self) -> int:
        return int(np.diff(self.first).max())

    def place(self, job: int) -> tuple[int, int, int]:
        """(session, turn, number of its row among those of all sessions so far) of a job."""
        session, turn = divmod(job, self.longest)
        again, number = divmod(session, len(self))
        return session, turn, int(again * self.first[-1] + self.first[number]) + turn

    def delay_after(self, job: int) -> tuple[bool, float | None]:
        """(whether the job's session goes on after it, the pause before that, if the file has one)."""
        session, turn, _ = self.place(job)
        number = session % len(self)
        next_row = int(self.first[number]) + turn + 1
        if next_row == self.first[number + 1]:
            return False, None
        delay = float(self.delay_s[next_row])
        return True, None if np.isnan(delay) else delay

    def jobs(self, sessions: int) -> Iterator[int]:
        """The jobs of the first so many sessions, in their order."""
        for session in range(sessions):
            number = session % len(self)
            turns = int(self.first[number + 1] - self.first[number])
            yield from range(session * self.longest, session * self.longest + turns)
