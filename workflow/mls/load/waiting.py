"""Waiting for other ranks asleep: a rank in a blocking MPI call takes a whole core."""

from __future__ import annotations

import time

from mpi4py import MPI

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
