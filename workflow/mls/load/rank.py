"""One rank's run in five phases: connect, warm up, load, close, gather."""

from __future__ import annotations

import gc
import resource
import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from mpi4py import MPI

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.core.units import NS_PER_MS, NS_PER_S
from mls.host import machine
from mls.load.mpi import clock_sync, dispatch, roles
from mls.load.mpi.clock_sync import Offset, ToRank0
from mls.load.mpi.collective import agree, wait_all
from mls.load.mpi.gather import gather
from mls.load.mpi.roles import Role
from mls.load.postprocess import Posting, local_number
from mls.load.records import records
from mls.load.sources import Sessions, UntilTime, WarmUp
from mls.load.spec import RunSpec
from mls.load.transport.base import Pacing, Transport
from mls.load.transport.epoll import EpollTransport
from mls.load.transport.exchange import JobSource
from mls.load.transport.pacing import ClosedLoop, OpenLoop, Users
from mls.load.transport.spool import ExchangeSpool
from mls.load.workload.arrivals import Arrivals
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.conversations.pauses import Pauses
from mls.load.workload.schedule import Schedule
from mls.protocol.request import RequestBuilder

_HEAD_START_NS = 20 * NS_PER_MS

Progress = Callable[[int], None]
"""A function that rank 0 calls now and then with the number of requests handed out so far."""


@dataclass(frozen=True)
class Harvest:
    """The outcome of a run on rank 0. table, file: see `gather.PooledRecords`.

    ranks: one dict a rank with the keys rank, host, requests, cpus, cpu_s, wall_s, clock,
    wall_clock_steps, offset (see `ToRank0.facts`), gone, and post (`{card, name, reason, failed}`,
    None of a rank that is no worker).
    """

    table: pa.Table
    file: Path | None
    ranks: list[dict[str, Any]]
    start_unix_ns: int


@dataclass(frozen=True)
class _Worker:
    """The transport and the post-processing of a rank that sends."""

    transport: Transport
    posting: Posting


@dataclass(frozen=True)
class _LoadOutcome:
    """The outcome of the load on one rank. wall_s: from the common start to its last reply."""

    spool: ExchangeSpool
    start_unix_ns: int
    wall_s: float
    cpu_s: float
    to_rank0: ToRank0


@dataclass(frozen=True)
class _Plan:
    """The run as one rank carries it out. places: the rank's share of the requests in flight."""

    spec: RunSpec
    role: Role
    places: int
    bodies: WorkloadBodies | None
    builder: RequestBuilder
    schedule: Schedule | None


def perform(
    comm: MPI.Intracomm,
    spec: RunSpec,
    progress: Progress,
    ready: Callable[[], None],
    output: Path | None = None,
) -> Harvest | None:
    """Run on all ranks of `comm`. Returns the harvest on rank 0, None elsewhere.

    ready: called on rank 0 after the warm-up and before the load. output: the run's folder; without
    it nothing is written. Raises `UserError` on every rank when any of them can't take part.
    """
    role = roles.assign(comm, spec.run)
    bodies = spec.bodies()
    plan = _Plan(
        spec,
        role,
        role.share(spec.run.inflight),
        bodies,
        spec.builder(bodies),
        spec.schedule(),
    )
    worker = _connect(comm, plan)
    _warm_up(comm, plan, worker)
    if comm.rank == 0:
        ready()
    outcome = _load(comm, plan, worker, progress)
    tables, facts = _close(comm, plan, worker, outcome)
    pooled = gather(comm, tables, output)
    outcome.spool.close()
    ranks = comm.gather(facts, root=0)
    if pooled is None or ranks is None:
        return None
    return Harvest(pooled.table, pooled.file, ranks, outcome.start_unix_ns)


def _connect(comm: MPI.Intracomm, plan: _Plan) -> _Worker | None:
    """The worker of a rank that sends, with its connections open; None on other ranks."""
    transport: Transport | None = None
    posting: Posting | None = None
    problem = None
    _allow_open_files()
    if plan.role.worker >= 0:
        try:
            posting = Posting(plan.spec.run, local_number(comm.rank, plan.role))
            transport = _transport(plan, posting)
            transport.connect(plan.places)
        except (UserError, OSError) as error:
            problem = str(error)
            if transport:  # without a free file descriptor nobody could write down why
                transport.close()
    agree(comm, problem)
    if transport is None or posting is None:
        return None
    return _Worker(transport, posting)


def _warm_up(comm: MPI.Intracomm, plan: _Plan, worker: _Worker | None) -> None:
    """Send the requests of the warm-up, and build those of the load in advance."""
    if worker:
        total = plan.spec.run.warmup
        if count := plan.role.share(total):
            source = WarmUp(plan.role.worker * total, count)
            starts_ns = [time.monotonic_ns()] * plan.places
            worker.transport.run(ClosedLoop(source, starts_ns)).close()
    agree(comm, worker.transport.gone if worker else None)
    if worker:
        worker.posting.begin()
        plan.builder.build_ahead(_jobs(plan))
    wait_all(comm)


def _load(
    comm: MPI.Intracomm, plan: _Plan, worker: _Worker | None, progress: Progress
) -> _LoadOutcome:
    """Send the load, from the common start until every rank has its last reply."""
    offset = clock_sync.offset_to_rank0(comm, plan.role.clock_ids)
    # an open loop's jobs are no one's to hand out: its schedule is their division
    kind, limit = ("static", 0) if plan.schedule else (plan.spec.run.dispatch, plan.spec.requests)
    source = dispatch.make(kind, comm, limit, plan.places, plan.role)
    gc.freeze()  # for good: all of it lives as long as the rank
    gc.disable()
    start_ns = _agreed_start(comm, offset)
    start_unix_ns = time.time_ns() + start_ns - time.monotonic_ns()
    cpu_before = _cpu_s()
    spool = ExchangeSpool()
    if worker:
        spool = worker.transport.run(_pacing(plan, source, start_ns))
    cpu_s, end_ns = _cpu_s() - cpu_before, time.monotonic_ns()
    _wait_for_workers(comm, source, progress)
    if not worker:  # the scheduling rank's load is the waiting
        cpu_s, end_ns = _cpu_s() - cpu_before, time.monotonic_ns()
    gc.enable()
    source.close()
    to_rank0 = ToRank0(offset, clock_sync.offset_to_rank0(comm, plan.role.clock_ids))
    wall_s = (end_ns - start_ns) / NS_PER_S
    return _LoadOutcome(spool, start_unix_ns, wall_s, cpu_s, to_rank0)


def _close(
    comm: MPI.Intracomm, plan: _Plan, worker: _Worker | None, outcome: _LoadOutcome
) -> tuple[Iterator[pa.Table], dict[str, Any]]:
    """The rank's records, which are parsed lazily, and its facts (see `Harvest.ranks`)."""
    load = plan.spec.settings.load
    transport = worker.transport if worker else None
    if transport:
        transport.close()
    post_results, post = worker.posting.conclude() if worker else ({}, None)
    tables = records(
        worker.posting.verify(outcome.spool) if worker else outcome.spool,
        plan.builder,
        rank=comm.rank,
        keep_output=plan.spec.run.keep_output,
        to_rank0=outcome.to_rank0,
        post_results=post_results,
        stages=plan.schedule.stage if plan.schedule and load.stages else None,
        canaries=plan.spec.canaries,
        think_tags=plan.spec.settings.replies.think_tags,
        ideal_hits=plan.spec.ideal_hits(),
    )
    facts = {
        "rank": comm.rank,
        "host": MPI.Get_processor_name(),
        "requests": len(outcome.spool),
        "cpus": machine.affinity(),
        "cpu_s": outcome.cpu_s,
        "wall_s": outcome.wall_s,
        "clock": transport.clock if transport else None,
        "wall_clock_steps": transport.wall_clock_steps if transport else 0,
        "offset": outcome.to_rank0.facts,
        "gone": transport.gone if transport else None,
        "post": post,
    }
    return tables, facts


def _transport(plan: _Plan, posting: Posting) -> Transport:
    spec = plan.spec
    parts = (spec.targets, plan.builder, spec.run, posting, spec.router(), spec.cancellations())
    if spec.run.transport == "requests":
        # Its import takes a quarter of a rank's start
        from mls.load.transport.threaded.threads import ThreadsTransport

        return ThreadsTransport(*parts)
    if not hasattr(select, "epoll"):
        raise UserError(
            "run.transport: epoll needs Linux, and this is another system: set it to requests."
        )
    return EpollTransport(*parts)


def _pacing(plan: _Plan, source: JobSource, start_ns: int) -> Pacing:
    """start_ns: the common start on this rank's clock."""
    spec, role = plan.spec, plan.role
    if plan.schedule:
        load = spec.settings.load
        return OpenLoop(Arrivals(plan.schedule, load, role.worker, role.workers, start_ns))
    if spec.turns > 1:
        source = Sessions(source, spec.turns)
    if spec.run.duration_s is not None:
        source = UntilTime(source, start_ns + int(spec.run.duration_s * NS_PER_S))
    starts_ns = starts(start_ns, spec.run, role, plan.places)
    if spec.turns > 1 or not spec.think_time.never:
        return Users(source, starts_ns, Pauses(spec.think_time, spec.seed), plan.bodies)
    return ClosedLoop(source, starts_ns)


def _jobs(plan: _Plan) -> Sequence[int]:
    """The jobs whose requests this rank builds in advance."""
    if plan.schedule:
        return range(plan.role.worker, len(plan.schedule), plan.role.workers)
    return plan.spec.jobs_ahead(plan.places)


def starts(start_ns: int, run: Run, role: Role, places: int) -> list[int]:
    """The moments at which a worker's places send their first requests, in ns."""
    step_ns = run.ramp_s * NS_PER_S / run.inflight
    return [
        start_ns + int(step_ns * (place * role.workers + role.worker)) for place in range(places)
    ]


def _allow_open_files() -> None:
    """Raise the soft limit of open files to the hard one: each place and each part needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _agreed_start(comm: MPI.Intracomm, offset: Offset) -> int:
    """The common start on this rank's clock, once all ranks are ready."""
    wait_all(comm)
    start_ns: int = comm.bcast(time.monotonic_ns() + _HEAD_START_NS, root=0)
    return start_ns - offset.offset_ns


def _wait_for_workers(comm: MPI.Intracomm, source: dispatch.Dispatch, progress: Progress) -> None:
    """Wait for the slowest rank, asleep; rank 0 hands out jobs meanwhile."""
    everyone = comm.Ibarrier()
    while not everyone.Test():
        time.sleep(source.attend())
        if comm.rank == 0:
            progress(source.handed_out())


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
