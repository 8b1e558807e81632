"""The roles of ranks: either all send requests, or all but rank 0."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from mpi4py import MPI

from mls.config.sections.run import Run
from mls.host.machine import boot_id, clock_id


@dataclass(frozen=True)
class Role:
    """The role of this rank. worker: its number among the workers, −1 if it sends nothing."""

    worker: int
    workers: int
    host_ids: list[str]
    """One id a rank. Ranks of one host have the same id and share its cores and cards."""
    clock_ids: list[str] = field(default_factory=list)
    """One id a rank. Ranks with the same monotonic clock have the same id."""
    one_host: bool = True
    """Whether all ranks share memory according to MPI. Containers of one host need not."""

    @property
    def scheduler_works(self) -> bool:
        return self.workers == len(self.host_ids)

    def share(self, total: int) -> int:
        """This worker's part of a total. The remainder is spread over the first workers."""
        if self.worker < 0:
            return 0
        return total // self.workers + (self.worker < total % self.workers)


def assign(comm: MPI.Intracomm, run: Run) -> Role:
    """This rank's role. Collective over `comm`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = comm.allgather((boot_id(), clock_id(), cores or 1))
    host_ids = [host for host, _, _ in facts]
    clock_ids = [clock for _, clock, _ in facts]
    crowded = any(host_ids.count(host) > on_host for host, _, on_host in facts)
    if comm.size == 1 or _works(run, comm.size, crowded):
        return Role(comm.rank, comm.size, host_ids, clock_ids, _share_memory(comm))
    return Role(comm.rank - 1, comm.size - 1, host_ids, clock_ids, _share_memory(comm))


def _share_memory(comm: MPI.Intracomm) -> bool:
    near = comm.Split_type(MPI.COMM_TYPE_SHARED)
    on_one_host = near.size == comm.size
    near.Free()
    return on_one_host


def _works(run: Run, ranks: int, crowded: bool) -> bool:
    if run.scheduler != "auto":
        return run.scheduler == "works"
    # with messages rank 0 has to answer at any time, and each worker needs a place
    return crowded and run.dispatch != "messages" and run.inflight >= ranks
