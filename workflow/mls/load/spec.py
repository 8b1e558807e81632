"""One run as every rank knows it: against which servers, how much, and of what."""

from __future__ import annotations

from dataclasses import dataclass, field

from mls.config.cells import Settings
from mls.config.sections.run import Run
from mls.load.transport.routing import Router
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts, needs_bodies
from mls.load.workload.schedule import Schedule, schedule
from mls.protocol.request import RequestBuilder, Target


@dataclass(frozen=True)
class RunSpec:
    """What to run. The same on every rank."""

    settings: Settings
    targets: tuple[Target, ...]
    served_as: str | None
    """The model's name in requests, as the probe has it from the server."""
    seed: int
    run_id: str
    materials: Materials = field(default_factory=Materials)
    salted: bool = False
    """Each request has a `cache_salt` of its own."""

    @property
    def run(self) -> Run:
        return self.settings.run

    @property
    def requests(self) -> int | None:
        """Requests (conversations) to send; None when something else ends the run."""
        return self.settings.requests

    @property
    def turns(self) -> int:
        """Requests that each hand-out stands for."""
        return self.settings.workload.turns_apart or 1

    @property
    def think_s(self) -> float:
        return self.settings.load.think_s or self.settings.workload.think_s

    def bodies(self) -> WorkloadBodies | None:
        """The bodies of the workload's requests; None for the built-in prompts."""
        workload = self.settings.workload
        if not needs_bodies(workload):
            return None
        prompts = make_prompts(self.run, workload, self.seed, self.materials)
        return WorkloadBodies(self.run, workload, self.served_as, prompts)

    def builder(self, bodies: WorkloadBodies | None) -> RequestBuilder:
        """bodies: see above."""
        return RequestBuilder(
            self.targets,
            self.run,
            served_as=self.served_as,
            seed=self.seed,
            run_id=self.run_id,
            bodies=bodies,
            salted=self.salted,
        )

    def schedule(self) -> Schedule | None:
        """All arrivals of an open loop; None for a closed one."""
        load = self.settings.load
        if not load.open:
            return None
        return schedule(load, self.seed, self.requests, self.run.duration_s, self.materials.trace)

    def router(self) -> Router | None:
        """Chooses the server of each request; None when there is one."""
        if len(self.targets) == 1:
            return None
        return Router(len(self.targets), self.settings.server.policy, self.turns)
