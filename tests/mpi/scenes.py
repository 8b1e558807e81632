"""The worker's program with one fault on purpose: `scenes.py SCENE OPTIONS…`."""

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
LOAD_BYTES = 256 << 20  # As a long load takes
LAST = MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1


def crash() -> None:
    """The last rank has a bug that shows once it has five replies."""
    start = EpollTransport.start

    def buggy(self, connection, job, scheduled_ns):
        if LAST and len(self._spool) >= 5:  # several may come in one turn of the loop
            raise RuntimeError("a bug that nobody expected")
        start(self, connection, job, scheduled_ns)

    EpollTransport.start = buggy
    worker.main()


def no_connection() -> None:
    """The last rank alone can't reach the server."""
    connect = EpollTransport.connect

    def without_connection(self, places):
        if LAST:
            raise UserError("The last rank can't reach the server.")
        connect(self, places)

    EpollTransport.connect = without_connection
    worker.main()


def short_of_memory() -> None:
    """The last rank can get no more memory once its load begins.

    It needs some to write down why it failed.
    """
    run, write = EpollTransport.run, worker.write_failure

    def run_in_little_memory(self, pacing):
        if LAST:
            size = psutil.Process().memory_info().vms
            resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
            bytearray(LOAD_BYTES)
        return run(self, pacing)

    def write_with_memory(*arguments):
        bytearray(16 << 20)
        write(*arguments)

    EpollTransport.run, worker.write_failure = run_in_little_memory, write_with_memory
    worker.main()


def slow_to_write() -> None:
    """Rank 0 takes a second to write down why the run failed."""
    write = worker.write_failure

    def slow(*arguments):
        time.sleep(1)
        write(*arguments)

    worker.write_failure = slow
    worker.main()


def impatient() -> None:
    """A server counts as gone after 100 ms without a connection."""
    retry.GONE_AFTER_NS = 100 * NS_PER_MS
    worker.main()


def clocks() -> None:
    """Each rank's clock is ahead by 5 s and 1 % more than the one before; the last two share one.

    Prints a line for each rank: its number, the error of a moment on its clock that was converted
    to rank 0's (ns), the uncertainty (ns), the drift and its uncertainty (ppm), and its CPU time
    (s) while rank 0 was a second late.
    """
    comm = MPI.COMM_WORLD
    number = min(comm.rank, comm.size - 2)
    true_clock, begin_ns = time.monotonic_ns, comm.bcast(time.monotonic_ns())

    def on_this_clock(moment_ns: int) -> int:
        age_ns = moment_ns - begin_ns
        return moment_ns + number * (SHIFT_NS + age_ns // 100)

    time.monotonic_ns = lambda: on_this_clock(true_clock())
    clock_ids = [f"clock {min(rank, comm.size - 2)}" for rank in range(comm.size)]
    before = clock_sync.offset_to_rank0(comm, clock_ids)
    true_ns = true_clock()
    if comm.rank == 0:
        time.sleep(1)
    cpu_s = time.process_time()
    conversion = clock_sync.ToRank0(before, clock_sync.offset_to_rank0(comm, clock_ids))
    cpu_s = time.process_time() - cpu_s
    uncertainty = max(before.uncertainty_ns, conversion.after.uncertainty_ns)
    drift = conversion.facts["drift_ppm"] or 0
    drift_uncertainty = conversion.facts["drift_uncertainty_ppm"] or 0
    error_ns = conversion(on_this_clock(true_ns)) - true_ns
    line = f"{comm.rank} {error_ns} {uncertainty} {drift} {drift_uncertainty} {cpu_s}"
    for text in comm.gather(line) or []:
        print(text, flush=True)


if __name__ == "__main__":
    scenes = (crash, no_connection, short_of_memory, slow_to_write, impatient, clocks)
    {each.__name__: each for each in scenes}[sys.argv.pop(1)]()
