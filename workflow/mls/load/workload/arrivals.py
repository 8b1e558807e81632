"""The arrivals of an open loop on one rank: the jobs that are due, and those that may start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mls.config.sections.load import Load
from mls.core.units import NS_PER_S
from mls.load.workload.schedule import Schedule


@dataclass(frozen=True)
class Arrival:
    """A job of the schedule, with the time at which it is due on this rank's clock."""

    job: int
    due_ns: int


class Arrivals:
    """Hands out arrivals in their order, as soon as they are due and the cap has room.

    No arrival is dropped or moved: one that has to wait keeps the time at which it was due.
    """

    def __init__(
        self, plan: Schedule, load: Load, worker: int, workers: int, start_ns: int
    ) -> None:
        """start_ns: the common start on this rank's clock."""
        self._jobs = plan.share(worker, workers).tolist()
        self._due_ns = (plan.at_ns[self._jobs] + start_ns).tolist()
        self._next = 0
        cap = load.max_inflight
        self._room = None if cap is None else cap // workers + (worker < cap % workers)
        last_ns = int(plan.at_ns[-1]) if len(plan) else 0
        self.end_ns = start_ns + last_ns + int(load.drain_s * NS_PER_S)
        """The time at which incomplete requests fail."""

    @property
    def next_ns(self) -> int | None:
        """When the next arrival is due; None when there are no more."""
        return self._due_ns[self._next] if self._next < len(self._jobs) else None

    def ready(self, now_ns: int, outstanding: int) -> Iterator[Arrival]:
        """The arrivals that may start now. outstanding: requests already in flight."""
        while (due_ns := self.next_ns) is not None and due_ns <= now_ns:
            if self._room is not None and outstanding >= self._room:
                return
            self._next += 1
            outstanding += 1
            yield Arrival(self._jobs[self._next - 1], due_ns)

    def draw(self) -> int | None:
        """None: in an open loop a free place gets no job."""
        return None

    @property
    def exhausted(self) -> bool:
        return self.next_ns is None

    def stop(self) -> None:
        """Hand out no more arrivals: the server is gone."""
        self._next = len(self._jobs)

    def rest(self) -> Iterator[Arrival]:
        """The arrivals that were never started."""
        while (due_ns := self.next_ns) is not None:
            self._next += 1
            yield Arrival(self._jobs[self._next - 1], due_ns)
