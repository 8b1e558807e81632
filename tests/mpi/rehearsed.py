"""The worker's program with one thing going wrong on purpose: `rehearsed.py SCENE OPTIONS…`."""

import sys
import time

from mpi4py import MPI

from mls import worker
from mls.load import clock, failures
from mls.load.epoll import EpollTransport
from mls.model.errors import UserError
from mls.model.units import NS_PER_MS, NS_PER_S

SHIFT_NS = 5 * NS_PER_S
LAST = MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1


def crash() -> None:
    """The last rank has a bug that shows in its fifth request under load."""
    draw = EpollTransport._next

    def buggy(self, place, free_since_ns):
        if LAST and len(self._done) == 5:
            raise RuntimeError("a bug that nobody expected")
        draw(self, place, free_since_ns)

    EpollTransport._next = buggy
    worker.main()


def no_connection() -> None:
    """The last rank alone can't reach the server."""
    connect = EpollTransport.connect

    def refused(self, places):
        if LAST:
            raise UserError("The last rank can't reach the server.")
        connect(self, places)

    EpollTransport.connect = refused
    worker.main()


def soon_gone() -> None:
    """Servers are given up on at once."""
    failures.GONE_AFTER_NS = 100 * NS_PER_MS
    worker.main()


def clocks() -> None:
    """Prints each rank's offset to rank 0, with every rank on a host and a clock of its own."""
    comm = MPI.COMM_WORLD
    monotonic_ns = time.monotonic_ns
    time.monotonic_ns = lambda: monotonic_ns() + comm.rank * SHIFT_NS
    offset, uncertainty = clock.offset_to_rank0(comm, [f"host {r}" for r in range(comm.size)])
    for line in comm.gather(f"{comm.rank} {offset} {uncertainty}") or []:
        print(line, flush=True)


if __name__ == "__main__":
    {each.__name__: each for each in (crash, no_connection, soon_gone, clocks)}[sys.argv.pop(1)]()
