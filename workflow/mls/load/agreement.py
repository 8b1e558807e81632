"""What went wrong on one rank is said on all: none of them waits for another that has given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from mpi4py import MPI

from mls.load.waiting import wait_all
from mls.model.errors import UserError

T = TypeVar("T")


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
