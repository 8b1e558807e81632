"""One run: every rank's part from connecting to the gathered table of records."""

from __future__ import annotations

import gc
import resource
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from mpi4py import MPI

from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.server import Policy
from mls.config.sections.workload import Workload
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
from mls.load.transport.epoll import EpollTransport
from mls.load.transport.exchange import JobSource, Transport
from mls.load.transport.pacing import OpenTransport, SessionTransport
from mls.load.transport.routing import Router
from mls.load.transport.spool import Finished
from mls.load.transport.threads import ThreadsTransport
from mls.load.workload.arrivals import Arrivals
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts, needs_bodies
from mls.load.workload.schedule import Schedule, schedule
from mls.protocol.request import RequestBuilder, Target

_HEAD_START_NS = 20 * NS_PER_MS

Progress = Callable[[int], None]
"""Called on rank 0 now and then with the number of requests handed out so far."""


@dataclass(frozen=True)
class Job:
    """What to run against which server, or servers: `target` and the `others`."""

    target: Target
    run: Run
    served_as: str | None
    seed: int
    run_id: str
    load: Load = field(default_factory=Load)
    workload: Workload = field(default_factory=Workload)
    materials: Materials = field(default_factory=Materials)
    others: tuple[Target, ...] = ()
    policy: Policy = "round_robin"

    @property
    def requests(self) -> int | None:
        """Requests (conversations) to send; None when something else ends the run."""
        return self.load.requests(self.run)

    def bodies(self) -> WorkloadBodies | None:
        """The bodies of the workload's requests; None for the built-in prompts."""
        if not needs_bodies(self.workload):
            return None
        prompts = make_prompts(self.run, self.workload, self.seed, self.materials)
        return WorkloadBodies(self.run, self.workload, self.served_as, prompts)

    def plan(self) -> Schedule | None:
        """All arrivals of an open loop."""
        if not self.load.open:
            return None
        duration_s, trace = self.run.duration_s, self.materials.trace
        return schedule(self.load, self.seed, self.requests, duration_s, trace)

    @property
    def router(self) -> Router | None:
        """Chooses the server of each request; None when there is one."""
        targets = (self.target, *self.others)
        return Router(targets, self.policy, self.turns) if self.others else None

    @property
    def turns(self) -> int:
        """Requests that each hand-out stands for."""
        return self.workload.turns_apart or 1


@dataclass(frozen=True)
class Gathered:
    """Rank 0's harvest. table, file: see `gather.Pooled`.

    ranks: one dict a rank: rank, host, requests, cpus, cpu_s, wall_s, clock, wall_clock_steps,
    offset (see `ToRank0.facts`), gone, post (`{card, name, reason, failed}`; None: not a worker).
    """

    table: pa.Table
    file: Path | None
    ranks: list[dict[str, Any]]
    start_unix_ns: int


def perform(
    comm: MPI.Intracomm,
    job: Job,
    progress: Progress,
    ready: Callable[[], None],
    output: Path | None = None,
) -> Gathered | None:
    """Run a job on all ranks of `comm`; the harvest on rank 0, None elsewhere.

    ready: called on rank 0 when the warm-up is over and nothing else has been sent. output: the
    run's folder; without it nothing is written.

    Raises `UserError` on every rank when any of them can't take part.
    """
    role = roles.assign(comm, job.run)
    places = role.share(job.run.inflight)
    bodies, plan = job.bodies(), job.plan()
    builder = RequestBuilder(
        job.target,
        job.run,
        served_as=job.served_as,
        seed=job.seed,
        run_id=job.run_id,
        bodies=bodies,
        others=job.others,
    )
    transport: Transport | None = None
    posting: Posting | None = None
    problem = None
    _allow_open_files()
    if role.worker >= 0:
        try:
            posting = Posting(job.run, local_number(comm.rank, role))
            transport = _transport(job, builder, posting, bodies)
            transport.connect(places)
        except (UserError, OSError) as error:
            problem = str(error)
            if transport:  # without a free file descriptor nobody could write down why
                transport.close()
    agree(comm, problem)
    if transport:
        _warm_up(transport, job, role, places)
    agree(comm, transport.gone if transport else None)
    if posting:
        posting.begin()
    if transport:
        builder.build_ahead(_jobs(job, plan, role, places))
    wait_all(comm)
    if comm.rank == 0:
        ready()
    offset_before = clock_sync.offset_to_rank0(comm, role.clock_ids)
    # an open loop's jobs are no one's to hand out: its schedule is their division
    kind, limit = ("static", 0) if plan else (job.run.dispatch, job.requests)
    source = dispatch.make(kind, comm, limit, places, role)
    gc.collect()
    gc.freeze()
    gc.disable()
    start_ns = _agreed_start(comm, offset_before)
    start_unix_ns = time.time_ns() + start_ns - time.monotonic_ns()
    cpu_before = _cpu_s()
    finished = Finished()
    if isinstance(transport, OpenTransport):
        assert plan is not None
        arrivals = Arrivals(plan, job.load, role.worker, role.workers, start_ns)
        finished = transport.run_arrivals(arrivals)
    elif transport:
        drawn: JobSource = Sessions(source, job.turns) if job.turns > 1 else source
        if job.run.duration_s is not None:
            drawn = UntilTime(drawn, start_ns + int(job.run.duration_s * NS_PER_S))
        finished = transport.run(drawn, _starts(start_ns, job.run, role, places))
    cpu_s, end_ns = _cpu_s() - cpu_before, time.monotonic_ns()
    _wait_for_workers(comm, source, progress)
    if not transport:  # the scheduling rank's load is the waiting
        cpu_s, end_ns = _cpu_s() - cpu_before, time.monotonic_ns()
    gc.enable()
    gc.unfreeze()
    source.close()
    to_rank0 = ToRank0(offset_before, clock_sync.offset_to_rank0(comm, role.clock_ids))
    if transport:
        transport.close()
    processed, post = posting.conclude() if posting else ({}, None)
    tables = records(
        posting.judged(finished) if posting else finished,
        builder,
        rank=comm.rank,
        keep_output=job.run.keep_output,
        to_rank0=to_rank0,
        processed=processed,
        stages=plan.stage if plan and job.load.stages else None,
    )
    facts = {
        "rank": comm.rank,
        "host": MPI.Get_processor_name(),
        "requests": len(finished),
        "cpus": machine.affinity(),
        "cpu_s": cpu_s,
        "wall_s": (end_ns - start_ns) / NS_PER_S,
        "clock": transport.clock if transport else None,
        "wall_clock_steps": transport.wall_clock_steps if transport else 0,
        "offset": to_rank0.facts,
        "gone": transport.gone if transport else None,
        "post": post,
    }
    pooled = gather(comm, tables, output)
    finished.close()
    ranks = comm.gather(facts, root=0)
    if pooled is None or ranks is None:
        return None
    return Gathered(pooled.table, pooled.file, ranks, start_unix_ns)


class UntilTime:
    """A job source that ends at a moment of the monotonic clock."""

    def __init__(self, source: JobSource, end_ns: int) -> None:
        self._source = source
        self._end_ns = end_ns

    @property
    def exhausted(self) -> bool:
        return self._source.exhausted or time.monotonic_ns() >= self._end_ns

    def draw(self) -> int | None:
        return self._source.draw() if time.monotonic_ns() < self._end_ns else None

    def stop(self) -> None:
        self._source.stop()


class Sessions:
    """A job source of conversations: each hand-out is the first of so many turns."""

    def __init__(self, source: JobSource, turns: int) -> None:
        self._source = source
        self._turns = turns

    @property
    def exhausted(self) -> bool:
        return self._source.exhausted

    def draw(self) -> int | None:
        number = self._source.draw()
        return None if number is None else number * self._turns

    def stop(self) -> None:
        self._source.stop()


def _jobs(job: Job, plan: Schedule | None, role: Role, places: int) -> range:
    """The jobs whose requests this rank builds before the load."""
    if plan:
        return range(role.worker, len(plan), role.workers)
    return range(0, (job.requests or 1000 * places) * job.turns, job.turns)


def _allow_open_files() -> None:
    """Raise this process's soft limit of open files to its hard one: each place and each part needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _transport(
    job: Job, builder: RequestBuilder, posting: Posting, bodies: WorkloadBodies | None
) -> Transport:
    if job.run.transport == "epoll":
        if job.target.proxy:
            raise UserError(
                "server.proxy: the epoll transport speaks to the server itself; "
                "set run.transport to requests, or leave server.proxy out."
            )
        if not hasattr(select, "epoll"):
            raise UserError(
                "run.transport: epoll needs Linux, and this is another system: set it to requests."
            )
        if job.load.open:
            return OpenTransport(job.target, builder, job.run, posting, job.router)
        think_s = job.load.think_s or job.workload.think_s
        if think_s or job.turns > 1:
            return SessionTransport(
                job.target, builder, job.run, posting, job.router, think_s, bodies
            )
        return EpollTransport(job.target, builder, job.run, posting, job.router)
    return ThreadsTransport(job.target, builder, job.run, posting, job.router)


class _WarmUp:
    """Jobs −1, −2, …: prompts of their own, never in the records."""

    def __init__(self, first: int, count: int) -> None:
        self._jobs = iter(range(-1 - first, -1 - first - count, -1))
        self.exhausted = count == 0

    def draw(self) -> int | None:
        job = next(self._jobs, None)
        self.exhausted = job is None
        return job

    def stop(self) -> None:
        self._jobs = iter(())


def _warm_up(transport: Transport, job: Job, role: Role, places: int) -> None:
    count = role.share(job.run.warmup)
    if count:
        transport.run(
            _WarmUp(role.worker * job.run.warmup, count), [time.monotonic_ns()] * places
        ).close()


def _agreed_start(comm: MPI.Intracomm, offset: Offset) -> int:
    """The common start on this rank's clock, once all ranks are ready."""
    wait_all(comm)
    start_ns: int = comm.bcast(time.monotonic_ns() + _HEAD_START_NS, root=0)
    return start_ns - offset.offset_ns


def _starts(start_ns: int, run: Run, role: Role, places: int) -> list[int]:
    """When each of this worker's places sends its first request."""
    step_ns = run.ramp_s * NS_PER_S / run.inflight
    return [
        start_ns + int(step_ns * (place * role.workers + role.worker)) for place in range(places)
    ]


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
