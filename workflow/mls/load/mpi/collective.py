"""Collective steps of all ranks: waiting asleep, and raising one rank's error on all of them.

A rank in a blocking MPI call takes a whole core. A rank that waits for one that has given up waits
for ever.
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
    """Sleep until a message can be received."""
    while not comm.Iprobe(source=source, tag=tag):
        time.sleep(POLL_S)


def agreed(comm: MPI.Intracomm, act: Callable[[], T]) -> T:
    """The result of `act` on this rank. Raises `UserError` on every rank when any `act` does."""
    result: T | None = None
    problem = None
    try:
        result = act()
    except UserError as error:
        problem = str(error)
    agree(comm, problem)
    return cast(T, result)


def agree(comm: MPI.Intracomm, problem: str | None) -> None:
    """Raise `UserError` on every rank when any rank has a problem. Collective over `comm`."""
    wait_all(comm)
    for message in comm.allgather(problem):
        if message:
            raise UserError(message)
