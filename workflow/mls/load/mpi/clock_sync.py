"""Clocks of ranks on other hosts: from their `CLOCK_MONOTONIC` to rank 0's.

The minimum round-trip method (Cristian 1989): of many exchanges, the one with the shortest
round trip bounds the offset to within half of that trip. Measured before and after the load; in
between the offset is taken to change evenly, as clocks of unlike rates make it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from mls.load.mpi.collective import wait_all, wait_for

_TAG, _TURN = 21, 22
_ROUNDS = 50
_PPM = 1_000_000


@dataclass(frozen=True)
class Offset:
    """What to add to this rank's clock to get rank 0's, at one moment of this rank's clock; in ns."""

    at_ns: int
    offset_ns: int
    uncertainty_ns: int
    """The offset is right to within this. 0: the clock is rank 0's own."""


@dataclass(frozen=True)
class ToRank0:
    """Brings times of this rank's clock to rank 0's, by two measurements."""

    before: Offset
    after: Offset

    def __call__(self, time_ns: int) -> int:
        """The same moment on rank 0's clock, in ns."""
        first, span_ns = self.before, self.after.at_ns - self.before.at_ns
        moved = self.after.offset_ns - first.offset_ns
        if not moved or span_ns <= 0:
            return time_ns + first.offset_ns
        return time_ns + first.offset_ns + moved * (time_ns - first.at_ns) // span_ns

    @property
    def facts(self) -> dict[str, list[int] | float | None]:
        """As `run.json` keeps it: `before_ns` and `after_ns` are [offset, uncertainty].

        drift_ppm: by how much rank 0's clock is faster than this one, to within
        drift_uncertainty_ppm; both None on rank 0's clock.
        """
        span_ns = self.after.at_ns - self.before.at_ns
        drift = error = None
        if self.before.uncertainty_ns and span_ns > 0:
            drift = (self.after.offset_ns - self.before.offset_ns) / span_ns * _PPM
            error = (self.after.uncertainty_ns + self.before.uncertainty_ns) / span_ns * _PPM
        return {
            "before_ns": [self.before.offset_ns, self.before.uncertainty_ns],
            "after_ns": [self.after.offset_ns, self.after.uncertainty_ns],
            "drift_ppm": drift,
            "drift_uncertainty_ppm": error,
        }


def offset_to_rank0(comm: MPI.Intracomm, clock_ids: list[str]) -> Offset:
    """This rank's offset; collective.

    clock_ids: of each rank; ranks that share one have one clock, which the first of them
    measures. One pair of ranks is busy at a time, for some milliseconds; all others sleep.
    """
    firsts = {clock: rank for rank, clock in reversed(list(enumerate(clock_ids)))}
    mine = Offset(time.monotonic_ns(), 0, 0)
    for rank in sorted(firsts.values())[1:]:
        if comm.rank == 0:
            _answer(comm, rank)
        elif comm.rank == rank:
            mine = _ask(comm)
    wait_all(comm)
    told: list[Offset] = comm.allgather(mine)
    return told[firsts[clock_ids[comm.rank]]]


def _ask(comm: MPI.Intracomm) -> Offset:
    theirs = np.zeros(1, np.int64)
    wait_for(comm, 0, _TURN)
    comm.Recv(theirs, source=0, tag=_TURN)
    best: Offset | None = None
    for _ in range(_ROUNDS):
        sent = time.monotonic_ns()
        comm.Send(theirs, dest=0, tag=_TAG)
        comm.Recv(theirs, source=0, tag=_TAG)
        back = time.monotonic_ns()
        within = (back - sent) // 2 + 1
        if best is None or within < best.uncertainty_ns:
            middle = (sent + back) // 2
            best = Offset(middle, int(theirs[0]) - middle, within)
    assert best is not None
    return best


def _answer(comm: MPI.Intracomm, rank: int) -> None:
    buffer = np.zeros(1, np.int64)
    comm.Send(buffer, dest=rank, tag=_TURN)
    for _ in range(_ROUNDS):
        comm.Recv(buffer, source=rank, tag=_TAG)
        buffer[0] = time.monotonic_ns()
        comm.Send(buffer, dest=rank, tag=_TAG)
