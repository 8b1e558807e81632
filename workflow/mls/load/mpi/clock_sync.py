"""Clocks of ranks on other hosts: from their `CLOCK_MONOTONIC` to rank 0's.

The offset is measured by the minimum round-trip method (Cristian 1989): of many exchanges, the one
with the shortest round trip bounds the offset to within half of that trip. It is measured before
and after the load. In between the offset is assumed to change evenly, as between clocks of constant
but unlike rates.
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
    """The offset in ns from this rank's clock to rank 0's, at one moment of this rank's clock."""

    at_ns: int
    offset_ns: int
    uncertainty_ns: int
    """The greatest error of the offset; 0 when the clock is rank 0's own."""


@dataclass(frozen=True)
class ToRank0:
    """Converts times of this rank's clock to rank 0's, by two measurements of the offset."""

    before: Offset
    after: Offset

    def __call__(self, time_ns: int) -> int:
        """The same moment on rank 0's clock, in ns."""
        first, span_ns = self.before, self.after.at_ns - self.before.at_ns
        drift_ns = self.after.offset_ns - first.offset_ns
        if not drift_ns or span_ns <= 0:
            return time_ns + first.offset_ns
        return time_ns + first.offset_ns + drift_ns * (time_ns - first.at_ns) // span_ns

    @property
    def facts(self) -> dict[str, list[int] | float | None]:
        """The offset as in `run.json`. `before_ns` and `after_ns` are [offset, uncertainty].

        `drift_ppm` is how much faster rank 0's clock is than this one, with an error of at most
        `drift_uncertainty_ppm`. Both are None on rank 0's clock.
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
    """This rank's offset. Collective over `comm`.

    clock_ids: one a rank. Ranks with the same id share a clock, and the first of them measures it.
    One pair of ranks is busy at a time, for some milliseconds; all others sleep.
    """
    firsts = {clock: rank for rank, clock in reversed(list(enumerate(clock_ids)))}
    own = Offset(time.monotonic_ns(), 0, 0)
    for rank in sorted(firsts.values())[1:]:
        if comm.rank == 0:
            _answer(comm, rank)
        elif comm.rank == rank:
            own = _ask(comm)
    wait_all(comm)
    offsets: list[Offset] = comm.allgather(own)
    return offsets[firsts[clock_ids[comm.rank]]]


def _ask(comm: MPI.Intracomm) -> Offset:
    buffer = np.zeros(1, np.int64)
    wait_for(comm, 0, _TURN)
    comm.Recv(buffer, source=0, tag=_TURN)
    best: Offset | None = None
    for _ in range(_ROUNDS):
        send_ns = time.monotonic_ns()
        comm.Send(buffer, dest=0, tag=_TAG)
        comm.Recv(buffer, source=0, tag=_TAG)
        return_ns = time.monotonic_ns()
        uncertainty_ns = (return_ns - send_ns) // 2 + 1
        if best is None or uncertainty_ns < best.uncertainty_ns:
            middle = (send_ns + return_ns) // 2
            best = Offset(middle, int(buffer[0]) - middle, uncertainty_ns)
    assert best is not None
    return best


def _answer(comm: MPI.Intracomm, rank: int) -> None:
    buffer = np.zeros(1, np.int64)
    comm.Send(buffer, dest=rank, tag=_TURN)
    for _ in range(_ROUNDS):
        comm.Recv(buffer, source=rank, tag=_TAG)
        buffer[0] = time.monotonic_ns()
        comm.Send(buffer, dest=rank, tag=_TAG)
