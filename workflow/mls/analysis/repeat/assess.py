"""Summary and verdicts of one repeat, both for a new run and for results that are read again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from mls.analysis.checks.pace import keeps_full
from mls.analysis.checks.registry import judge
from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.hardware.cards import PostFacts
from mls.analysis.repeat.in_flight import Timeline, timeline
from mls.analysis.repeat.samples import samples
from mls.analysis.repeat.summary import RunFacts, summarize
from mls.config.sections.checks import Checks
from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.server import NO_SPECULATION
from mls.config.sections.workload import Workload
from mls.core.run_result import CanaryReport, Template, Verdict
from mls.core.summary import RankCost, Summary


@dataclass(frozen=True)
class Observation:
    """The measurement of one repeat.

    table: its records (schema `mls.core.record.REQUESTS`). host, clocks: `host` and `clock` of
    `RunResult`. telemetry: schema `TELEMETRY`, None when there is none.
    """

    table: pa.Table
    run: Run
    load: Load
    workload: Workload
    clock: Literal["kernel", "user"]
    per_rank: list[RankCost]
    metrics_before: dict[str, float] | None
    metrics_after: dict[str, float] | None
    host: dict[str, Any]
    clocks: dict[str, Any]
    post: PostFacts | None
    telemetry: pa.Table | None
    left_out: tuple[str, ...] = ()
    """Fields of requests that the server refuses."""
    canaries: CanaryReport | None = None
    speculation: str = NO_SPECULATION
    slots: int | None = None
    """Of the server, before the load; None where it doesn't say."""
    template: Template = field(default_factory=Template)

    @property
    def places(self) -> int | None:
        """Number of places that the load keeps full; None for an open loop and users who think."""
        return self.run.inflight if keeps_full(self.load, self.workload) else None


@dataclass(frozen=True)
class Assessment:
    """Summary and verdicts of one repeat, with the timeline and the samples of its records."""

    summary: Summary
    verdicts: list[Verdict]
    timeline: Timeline
    samples: dict[str, Floats]


def assess(observation: Observation, checks: Checks) -> Assessment:
    """Summary and verdicts of one repeat. docs/METHODS.md defines its figures."""
    course = timeline(observation.table, observation.places)
    distributions = samples(observation.table)
    facts = RunFacts(
        observation.run.inflight,
        observation.clock,
        observation.per_rank,
        observation.metrics_before,
        observation.metrics_after,
        observation.post,
        observation.telemetry,
        steady=observation.places is not None,
        server_here=observation.host.get("server") != "elsewhere",
        own_replies=observation.workload.own_replies,
        slots=observation.slots,
        reply_tokens=observation.run.max_tokens if observation.run.goes_on else None,
        workload=observation.workload,
        template=observation.template,
    )
    summary = summarize(observation.table, facts, course, distributions)
    evidence = Evidence(
        summary,
        observation.table,
        observation.run,
        checks,
        observation.metrics_before,
        observation.metrics_after,
        observation.host,
        observation.clocks,
        observation.load,
        observation.workload,
        course,
        observation.left_out,
        observation.canaries,
        observation.speculation,
        observation.template,
    )
    return Assessment(summary, judge(evidence), course, distributions)
