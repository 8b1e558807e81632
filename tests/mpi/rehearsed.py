"""The worker's program with one thing going wrong on purpose: `rehearsed.py SCENE OPTIONS…`."""

import resource
import sys
import time

import psutil
from mpi4py import MPI

from mls.commands import run as worker
from mls.core.errors import UserError
from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.mpi import clock_sync
from mls.load.transport import retry
from mls.load.transport.epoll import EpollTransport

SHIFT_NS = 5 * NS_PER_S
LAST = MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1


def crash() -> None:
    """The last rank has a bug that shows in its fifth request under load."""
    start = EpollTransport.start

    def buggy(self, connection, job, scheduled_ns):
        if LAST and len(self._spool) == 5:
            raise RuntimeError("a bug that nobody expected")
        start(self, connection, job, scheduled_ns)

    EpollTransport.start = buggy
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


def short_of_memory() -> None:
    """The last rank may take no more memory from the moment at which its load begins.

    To write down why it failed takes some.
    """
    run, write = EpollTransport.run, worker.write_failure

    def starved(self, pacing):
        if LAST:
            size = psutil.Process().memory_info().vms
            resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
        return run(self, pacing)

    def greedy(*told):
        bytearray(16 << 20)
        write(*told)

    EpollTransport.run, worker.write_failure = starved, greedy
    worker.main()


def slow_to_tell() -> None:
    """Rank 0 takes its time to write down why the run failed."""
    write = worker.write_failure

    def slow(*told):
        time.sleep(1)
        write(*told)

    worker.write_failure = slow
    worker.main()


def soon_gone() -> None:
    """Servers are given up on at once."""
    retry.GONE_AFTER_NS = 100 * NS_PER_MS
    worker.main()


def clocks() -> None:
    """Each rank's clock is off by 5 s and 1 % more than the one before it; the last two share one.

    Prints, for each: rank, how wrong a moment on it comes out on rank 0's clock, the uncertainty,
    the drift and its uncertainty in ppm, and the CPU time spent, in s, while rank 0 was a second
    late.
    """
    comm = MPI.COMM_WORLD
    number = min(comm.rank, comm.size - 2)
    truth_ns, began_ns = time.monotonic_ns, comm.bcast(time.monotonic_ns())

    def on_this_clock(moment_ns: int) -> int:
        passed = moment_ns - began_ns
        return moment_ns + number * (SHIFT_NS + passed // 100)

    time.monotonic_ns = lambda: on_this_clock(truth_ns())
    clock_ids = [f"clock {min(rank, comm.size - 2)}" for rank in range(comm.size)]
    before = clock_sync.offset_to_rank0(comm, clock_ids)
    truth = truth_ns()
    if comm.rank == 0:
        time.sleep(1)
    used = time.process_time()
    to_rank0 = clock_sync.ToRank0(before, clock_sync.offset_to_rank0(comm, clock_ids))
    used = time.process_time() - used
    within = max(before.uncertainty_ns, to_rank0.after.uncertainty_ns)
    drift, doubt = to_rank0.facts["drift_ppm"], to_rank0.facts["drift_uncertainty_ppm"]
    line = f"{comm.rank} {to_rank0(on_this_clock(truth)) - truth} {within} {drift or 0} {doubt or 0} {used}"
    for text in comm.gather(line) or []:
        print(text, flush=True)


if __name__ == "__main__":
    scenes = (crash, no_connection, short_of_memory, slow_to_tell, soon_gone, clocks)
    {each.__name__: each for each in scenes}[sys.argv.pop(1)]()
