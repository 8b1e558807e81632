"""Clocks of ranks on other hosts: their offset to rank 0's `CLOCK_MONOTONIC`.

The minimum round-trip method (Cristian 1989): of many exchanges, the one with the shortest
round trip bounds the offset to within half of that trip.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

_TAG = 21
_ROUNDS = 50


def boot_id() -> str:
    """What tells one running host (and so one monotonic clock) from another."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return MPI.Get_processor_name()


def offset_to_rank0(comm: MPI.Intracomm, hosts: list[str]) -> tuple[int, int]:
    """(offset, uncertainty) in ns: what to add to this rank's clock to get rank 0's.

    hosts: `boot_id()` of each rank. Collective; ranks on rank 0's host have (0, 0).
    """
    result = (0, 0)
    for rank in range(1, comm.size):
        if hosts[rank] == hosts[0]:
            continue
        if comm.rank == 0:
            _answer(comm, rank)
        elif comm.rank == rank:
            result = _ask(comm)
    return result


def _ask(comm: MPI.Intracomm) -> tuple[int, int]:
    theirs = np.zeros(1, np.int64)
    best: tuple[int, int] | None = None
    for _ in range(_ROUNDS):
        sent = time.monotonic_ns()
        comm.Send(theirs, dest=0, tag=_TAG)
        comm.Recv(theirs, source=0, tag=_TAG)
        back = time.monotonic_ns()
        trip = back - sent
        if best is None or trip < 2 * best[1]:
            best = (int(theirs[0]) - (sent + back) // 2, trip // 2)
    assert best is not None
    return best


def _answer(comm: MPI.Intracomm, rank: int) -> None:
    buffer = np.zeros(1, np.int64)
    for _ in range(_ROUNDS):
        comm.Recv(buffer, source=rank, tag=_TAG)
        buffer[0] = time.monotonic_ns()
        comm.Send(buffer, dest=rank, tag=_TAG)
