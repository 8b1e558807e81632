"""What all ranks do together: they wait asleep, and what went wrong on one is said on all.

A rank in a blocking MPI call takes a whole core, and one that waits for another that has given up
waits for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar, cast

from mpi4py import MPI

from mls.core.errors import UserError

T = TypeVar("T")

POLL_S = 0.001


def wait_all(comm: MPI.Intracomm) -> None:
    """A barrier that sleeps instead of spinning."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(POLL_S)


def wait_for(comm: MPI.Intracomm, source: int, tag: int) -> None:
    """Sleep until a message is there to be received."""
    while not comm.Iprobe(source=source, tag=tag):
        time.sleep(POLL_S)


def agreed(comm: MPI.Intracomm, act: Callable[[], T]) -> T:
    """What `act` gives on this rank. Raises `UserError` on every rank when any rank's `act` does."""
    result: T | None = None
    problem = None
    try:
        result = act()
    except UserError as error:
        problem = str(error)
    agree(comm, problem)
    return cast(T, result)


def agree(comm: MPI.Intracomm, problem: str | None) -> None:
    """Raise on every rank what went wrong on any, once all have come so far."""
    wait_all(comm)
    for found in comm.allgather(problem):
        if found:
            raise UserError(found)
