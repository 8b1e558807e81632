"""From what one repeat left to its summary and verdicts: for a fresh run, and for one read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from mls.analysis.checks.pace import keeps_full
from mls.analysis.checks.registry import judge
from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.gpu import PostFacts
from mls.analysis.repeat.in_flight import Timeline, timeline
from mls.analysis.repeat.samples import samples
from mls.analysis.repeat.summary import RunFacts, summarize
from mls.config.sections.checks import Checks
from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.run_result import RankCost, Summary, Verdict


@dataclass(frozen=True)
class Observation:
    """One repeat as it was measured. table: its records (schema `mls.core.record.REQUESTS`).

    host, clocks: `host` and `clock` of `RunResult`. telemetry: schema `TELEMETRY`; None: there is none.
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

    @property
    def places(self) -> int | None:
        """How many places its load keeps full; None: an open loop, or users who think."""
        return self.run.inflight if keeps_full(self.load, self.workload) else None


@dataclass(frozen=True)
class Assessment:
    """timeline, samples: of the records, for whoever goes on with them."""

    summary: Summary
    verdicts: list[Verdict]
    timeline: Timeline
    samples: dict[str, Floats]


def assess(observation: Observation, checks: Checks) -> Assessment:
    """Summary and verdicts of one repeat. Definitions: docs/METHODS.md."""
    course = timeline(observation.table, observation.places)
    drawn = samples(observation.table)
    facts = RunFacts(
        observation.run.inflight,
        observation.clock,
        observation.per_rank,
        observation.metrics_before,
        observation.metrics_after,
        observation.post,
        observation.telemetry,
        steady=observation.places is not None,
    )
    summary = summarize(observation.table, facts, course, drawn)
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
    )
    return Assessment(summary, judge(evidence), course, drawn)
