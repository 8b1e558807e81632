"""The specification of one run, the same on every rank: servers, amount and kind of load."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mls.config.sections.load import think_time
from mls.config.sections.run import Run
from mls.config.sections.workload import Durations
from mls.config.settings import Settings
from mls.load.adapters import Adapters
from mls.load.canaries.known import Canaries
from mls.load.canaries.plan import CanaryPlan
from mls.load.canaries.requests import MixedRequests
from mls.load.cancellation import Cancellations
from mls.load.transport.routing import Router
from mls.load.workload.blocks.ideal_cache import IdealHits
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts, needs_bodies
from mls.load.workload.schedule import Schedule, schedule
from mls.protocol.request import MOST_AHEAD, RequestBuilder, Target


@dataclass(frozen=True)
class RunSpec:
    """The specification of one run."""

    settings: Settings
    targets: tuple[Target, ...]
    served_as: str | None
    """The model's name in requests, from the probe of the server."""
    seed: int
    run_id: str
    materials: Materials = field(default_factory=Materials)
    salted: bool = False
    """Each request has a `cache_salt` of its own."""
    canaries: Canaries | None = None
    """None where the load has none."""

    @property
    def run(self) -> Run:
        return self.settings.run

    @property
    def requests(self) -> int | None:
        """Number of requests (conversations) to send; None when time or a schedule ends the run."""
        return self.settings.requests

    @property
    def turns(self) -> int:
        """Most requests of a conversation; 1 without conversations."""
        return self.materials.turns or self.settings.workload.turns_apart or 1

    @property
    def _canary_plan(self) -> CanaryPlan | None:
        return self.canaries.plan if self.canaries else None

    @property
    def think_time(self) -> Durations:
        return think_time(self.settings.load, self.settings.workload)

    @property
    def _model_of_all(self) -> str | None:
        """The model that all bodies name; None where each names that of its adapter."""
        adapters = self.adapters()
        return None if adapters and adapters.names_models else self.served_as

    def bodies(self) -> WorkloadBodies | None:
        """The bodies of the workload's requests; None for the built-in prompts."""
        workload = self.settings.workload
        if not needs_bodies(workload):
            return None
        prompts = make_prompts(self.run, workload, self.seed, self.materials)
        return WorkloadBodies(self.run, self._model_of_all, prompts)

    def builder(self, bodies: WorkloadBodies | None) -> RequestBuilder:
        """The builder of requests. bodies: see `bodies`."""
        options: dict[str, Any] = {
            "targets": self.targets,
            "run": self.run,
            "served_as": self._model_of_all,
            "seed": self.seed,
            "run_id": self.run_id,
            "bodies": bodies,
            "salted": self.salted,
            "adapters": self.adapters(),
        }
        if self.canaries:
            return MixedRequests(self.canaries.plan, canaries_as=self.served_as, **options)
        return RequestBuilder(**options)

    def schedule(self) -> Schedule | None:
        """All arrivals of an open loop; None for a closed loop."""
        load = self.settings.load
        if not load.open:
            return None
        return schedule(load, self.seed, self.requests, self.run.duration_s, self.materials.trace)

    def adapters(self) -> Adapters | None:
        """The choice of each request's adapter; None without any."""
        if not self.run.adapters:
            return None
        return Adapters(self.run.adapters, self.seed, self.turns, self.served_as, self._canary_plan)

    def cancellations(self) -> Cancellations | None:
        """The choice of the requests that the client hangs up on; None for none of them."""
        if self.run.cancel is None:
            return None
        return Cancellations(self.run.cancel, self.seed, self._canary_plan)

    def ideal_hits(self) -> Callable[[int], int] | None:
        """The tokens that an ideal cache has of each job's prompt; None without blocks.

        Sessions of agents count as if they were sent one after another.
        """
        workload, trace = self.settings.workload, self.materials.trace
        if workload.kind != "blocks" or trace is None:
            return None
        assert trace.blocks is not None and trace.prompt_tokens is not None
        lengths = trace.prompt_tokens.tolist()
        hits = IdealHits(trace.blocks, lengths, workload.block_tokens, workload.cache_tokens)
        sessions = trace.sessions
        return hits if sessions is None else lambda job: hits(sessions.place(job)[2])

    def jobs_ahead(self, places: int) -> Sequence[int]:
        """The jobs of a closed loop whose requests can be built before the load, in their order.

        places: of the rank. What a later turn of a conversation says is known under load only.
        """
        count = self.requests or 1000 * places
        trace = self.materials.trace
        if trace and trace.sessions:
            return list(itertools.islice(trace.sessions.jobs(count), MOST_AHEAD))
        return range(0, count * self.turns, self.turns)

    def router(self) -> Router | None:
        """The choice of each request's server; None with a single server."""
        if len(self.targets) == 1:
            return None
        return Router(len(self.targets), self.settings.server.policy, self.turns)
