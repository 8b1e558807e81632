"""A whole sweep, cell by cell: estimates over repeats, pooled percentiles, curves for drawing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from mls.analysis import intervals
from mls.analysis.canaries.replies import (
    DIFFERENT,
    CanaryReplies,
    MeasuredRepeat,
    canary_replies,
    different_share,
)
from mls.analysis.checks.cells.agreement import enough_requests, repeats_agree, same_thing_measured
from mls.analysis.checks.cells.measured_together import When, measured_together, whens
from mls.analysis.checks.cells.ranks_alike import ranks_alike
from mls.analysis.checks.cells.references_alike import references_alike
from mls.analysis.efficiency.cost import costs
from mls.analysis.intervals import Estimate
from mls.analysis.parallel import on_cores
from mls.analysis.repeat.batches import batches
from mls.analysis.repeat.breakdown import PARTS, Part, parts
from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.downsample import Course, Curve, Dots, course, curve, dots
from mls.analysis.repeat.evidence import worst
from mls.analysis.repeat.goodput import goodput
from mls.analysis.repeat.hardware.series import Series, series
from mls.analysis.repeat.in_flight import timeline
from mls.analysis.repeat.speculation import by_category
from mls.analysis.repeats import Repeat, RepeatData, read_cell
from mls.analysis.sample_size import least_samples
from mls.config.cells import Cell, axes, cell_key, cells
from mls.config.config import Config
from mls.config.decisions import (
    Decision,
    Runs,
    adaptive,
    last_decisions,
    line_of,
    planned_runs,
)
from mls.core.run_result import Speculation, Summary, Verdict

MEANS = (
    "throughput.requests_per_s",
    "throughput.completion_tokens_per_s",
    "throughput.prompt_tokens_per_s",
    "overall.requests_per_s",
    "overall.completion_tokens_per_s",
    "latency_ms.mean",
    "ttft_ms.mean",
    "ttfa_ms.mean",
    "tpot_ms.mean",
    "itl_ms.mean",
    "queue_ms.mean",
    "tokens_per_chunk",
    "unanswered",
    "speculation.acceptance",
    "speculation.tokens_per_step",
    "server.speculation.acceptance",
    "server.speculation.tokens_per_step",
    "server.ttft_ms",
    "server.tpot_ms",
    "server.itl_ms",
    "server.latency_ms",
    "server.queue_ms",
    "server.prefill_ms",
    "server.decode_ms",
    "server.preemptions",
    "server.running_max",
    "server.waiting_max",
    "server.kv_use_max",
    "inflight.achieved_time_weighted",
    "inflight.achieved_littles_law",
    "client.loop_lag_ms.p99",
    "client.busiest_rank_cpu_fraction",
    "wall_s",
    "gpu.utilization.mean",
    "gpu.memory_used_mib.max",
    "gpu.server_memory_mib.max",
    "gpu.power_w.mean",
    "gpu.energy_j_per_1000_tokens",
    "cpu.power_w",
    "cpu.energy_j_per_1000_tokens",
    "gpu.post.total_ms.p50",
    "gpu.post.total_ms.p95",
    "gpu.post.copy_ms.p50",
    "gpu.post.kernel_ms.p50",
)
"""Figures of `Summary` that are averaged over repeats."""

GOODPUT = (
    "good.share",
    "throughput.good_requests_per_s",
    "throughput.good_tokens_per_s",
    "overall.good_requests_per_s",
    "overall.good_tokens_per_s",
)
"""Figures of `goodput`, averaged over repeats. There are none without objectives."""

POOLED = ("latency_ms", "latency_from_scheduled_ms", "ttft_ms", "ttfa_ms", "tpot_ms", "itl_ms")
"""Distributions whose percentiles are taken from the raw samples of all repeats together."""

POOLED_PERCENTILES = (50, 90, 95, 99)
REPLIES = 2


@dataclass(frozen=True)
class CellResult:
    """The results of one cell."""

    cell: Cell
    repeats: list[Repeat]
    estimates: dict[str, Estimate]
    """Name in `MEANS`, `GOODPUT` or `COST`, `DIFFERENT`, or `<distribution>.p<percentile>` of `POOLED` → estimate.

    Unknown figures are left out."""
    curves: dict[str, Curve]
    course: Course | None
    telemetry: dict[tuple[str, str], Series] = field(default_factory=dict)
    """(source, name) → time series of the first repeat that has any."""
    dots: Dots | None = None
    good: tuple[dict[str, float], ...] = ()
    """Goodput of each repeat that is ok."""
    verdicts: tuple[Verdict, ...] = ()
    """Verdicts on the cell as a whole. Those on each repeat are in its result."""
    parts: dict[str, list[Part]] = field(default_factory=dict)
    """Column in `PARTS` → the parts that it numbers; empty where the load has none."""
    categories: dict[str, Speculation] = field(default_factory=dict)
    """Category of text → its drafts; empty where none are known."""
    replies: tuple[str, ...] = ()
    """The first replies' texts; empty unless the config keeps them (`run.keep_output`)."""
    canaries: tuple[CanaryReplies, ...] = ()
    when: When | None = None
    """When it was measured; None where that isn't recorded."""

    @property
    def ok(self) -> list[Repeat]:
        return [repeat for repeat in self.repeats if repeat.status == "ok"]

    @property
    def verdict(self) -> str:
        """The worst verdict on the cell or on a repeat; `fail` when a repeat has no result."""
        if len(self.ok) < len(self.repeats):
            return "fail"
        return worst(v.status for v in self._all())

    def checks(self, *statuses: str) -> dict[str, int]:
        """Check with one of these statuses → repeats that have it (1 for a check of the cell)."""
        return dict(Counter(v.check for v in self._all() if v.status in statuses))

    @cached_property
    def _summaries(self) -> list[dict[str, Any]]:
        """`Summary` of each repeat that is ok, flattened."""
        return [flatten(repeat.result.summary) for repeat in self.ok if repeat.result]

    def _all(self) -> list[Verdict]:
        return [*(v for repeat in self.ok for v in _verdicts(repeat)), *self.verdicts]

    def values(self, metric: str) -> list[float]:
        """The figure of `Summary` or of the goodput in each repeat that has it."""
        if metric in GOODPUT:
            return [figures[metric] for figures in self.good if metric in figures]
        figures = [summary.get(metric) for summary in self._summaries]
        return [float(value) for value in figures if value is not None]


@dataclass(frozen=True)
class Rate:
    """The figure of `Summary` that stands for throughput, and its unit."""

    metric: str
    unit: str


@dataclass(frozen=True)
class Study:
    """The results of a sweep."""

    config: Config
    cells: list[CellResult]
    decisions: tuple[Decision, ...] = ()
    """The last decision of each line, where results decide what is measured."""

    @property
    def varying(self) -> list[str]:
        """Axes with more than one value, in their order."""
        return [
            axis for axis in axes(self.config) if len({str(c.cell[axis]) for c in self.cells}) > 1
        ]

    @property
    def naming(self) -> list[str]:
        """Axes whose values name a cell: those that vary, and inflight where only models do.

        Inflight says nothing of an open loop, so there they may be none.
        """
        alone = not self.config.load.open and {*self.varying} <= {"model"}
        return [*self.varying, *(["inflight"] if alone else [])]

    @property
    def planned_repeats(self) -> int:
        """Number of repeats planned so far, with a result or without."""
        return sum(len(cell.repeats) for cell in self.cells)

    @property
    def measured_repeats(self) -> int:
        """Number of repeats with a result."""
        return sum(len(cell.ok) for cell in self.cells)

    @property
    def undecided(self) -> list[str]:
        """Lines (`cell_key`) on which the results have yet to decide whether more is measured."""
        if not adaptive(self.config):
            return []
        lines = [cell_key(line_of(self.config, cell)) for cell in cells(self.config)]
        settled = {cell_key(last.line) for last in self.decisions if not last.runs}
        return [line for line in lines if line not in settled]

    @property
    def complete(self) -> bool:
        """Whether every repeat by the config, and by decisions on its results, has a result."""
        return self.measured_repeats == self.planned_repeats and not self.undecided

    @property
    def rates(self) -> str:
        """`throughput` when every repeat has a steady window, else `overall` for all.

        The whole study has one kind, since rates of the window and of the whole run don't compare.
        Cells on which a check failed don't count, unless there are no others.
        """
        steady = [
            r.result is not None and r.result.summary.window_s is not None
            for cell in self._trusted_cells
            for r in cell.ok
        ]
        return "throughput" if all(steady) else "overall"

    @property
    def rate(self) -> Rate:
        """Throughput in tokens/s, or in requests/s where replies' tokens are absent or unknown."""
        return self.rate_of(self.rates)

    def rate_of(self, rates: str) -> Rate:
        """`rate` for one kind of rates: `throughput` or `overall`."""
        run = self.config.run
        endpoints = {str(cell.cell.get("endpoint", run.endpoint)) for cell in self.cells}
        embeds = all(run.model_copy(update={"endpoint": one}).embeds for one in endpoints)
        tokens = f"{rates}.completion_tokens_per_s"
        if embeds or not all(
            len(cell.values(tokens)) == len(cell.ok) for cell in self._trusted_cells
        ):
            return Rate(f"{rates}.requests_per_s", "requests/s")
        return Rate(tokens, "tokens/s")

    @property
    def _trusted_cells(self) -> list[CellResult]:
        """The cells on which no check failed; all cells when there are none."""
        return [cell for cell in self.cells if not cell.checks("fail")] or self.cells


def read_study(config: Config, results: Path, runs: Runs | None = None) -> Study:
    """Read the results of a config. Each core has the records of one cell in memory at a time.

    runs: the runs to read; by default all that the config, and decisions on its results, ask for.
    Raises `UserError`.
    """
    plan = planned_runs(config, results) if runs is None else runs
    cell_results = on_cores(partial(_read, config, results), plan)
    cell_results = [
        replace(c, when=w)
        for c, w in zip(cell_results, whens(cell_results, config.checks), strict=True)
    ]
    verdicts = [
        v if c.ok else None
        for c, v in zip(cell_results, same_thing_measured(cell_results), strict=True)
    ]
    cell_results = _with_verdicts(cell_results, verdicts)
    cell_results = _with_verdicts(cell_results, references_alike(cell_results, config.checks))
    cell_results = _with_verdicts(
        cell_results,
        ranks_alike(cell_results, Study(config, cell_results).rate.metric, config.checks),
    )
    cell_results = _with_verdicts(cell_results, measured_together(cell_results, config.checks))
    return Study(config, cell_results, tuple(last_decisions(config, results)))


def _with_verdicts(cells: list[CellResult], verdicts: Sequence[Verdict | None]) -> list[CellResult]:
    """The cells, each with its further verdict (None: it has none)."""
    return [
        replace(c, verdicts=(*c.verdicts, v)) if v else c
        for c, v in zip(cells, verdicts, strict=True)
    ]


def flatten(summary: Summary) -> dict[str, Any]:
    """`Summary` in one level, keys joined by dots. Lists and the kinds of errors are left out."""
    figures: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        elif not isinstance(value, list):
            figures[prefix] = value

    walk("", summary.model_dump(exclude={"requests": {"errors"}}))
    return figures


def _verdicts(repeat: Repeat) -> list[Verdict]:
    return repeat.result.verdicts if repeat.result else []


def _read(config: Config, results: Path, plan: tuple[Cell, list[int]]) -> CellResult:
    cell, numbers = plan
    return _cell(config, cell, read_cell(config, results, cell, numbers))


def _cell(config: Config, cell: Cell, repeats: list[Repeat]) -> CellResult:
    result = CellResult(cell, [repeat.slim() for repeat in repeats], {}, {}, None)
    if not result.ok:
        return result
    data = [repeat.data for repeat in repeats if repeat.data is not None]
    good = tuple(goodput(r.table, config.slo, r.assessment.timeline) for r in data)
    result = replace(result, good=good)
    samples = [r.assessment.samples for r in data]
    distributions = {name: [own[name] for own in samples] for name in POOLED}
    latencies = distributions["latency_ms"]
    verdicts = (
        enough_requests(sum(map(len, latencies)), config.checks),
        repeats_agree(
            [repeat.number for repeat in result.ok],
            latencies,
            [_levels(r) for r in data],
            config.checks,
        ),
    )
    first = data[0]
    telemetry = next((r.telemetry for r in data if r.telemetry is not None), None)
    return replace(
        result,
        estimates=_means(result)
        | _percentiles(distributions)
        | _canaries(data)
        | costs([r.assessment.summary for r in data], config.price.per_hour),
        curves={name: curve(np.concatenate(own)) for name, own in distributions.items()},
        course=course(result.ok[0].number, first.assessment.timeline),
        telemetry=series(telemetry) if telemetry is not None else {},
        dots=dots(first.table),
        parts={column: parts([r.table for r in data], column) for column in PARTS},
        categories=by_category([r.table for r in data]),
        replies=tuple(first.table.column("output").drop_null().slice(0, REPLIES).to_pylist()),
        canaries=canary_replies(
            [
                MeasuredRepeat(repeat.number, repeat.result, repeat.data.table)
                for repeat in repeats
                if repeat.result and repeat.data
            ]
        ),
        verdicts=verdicts,
    )


def _canaries(data: list[RepeatData]) -> dict[str, Estimate]:
    share = different_share(r.table for r in data)
    return {DIFFERENT: share} if share else {}


def _levels(data: RepeatData) -> Floats:
    """Mean latencies of the batches of the window; without a window, of the whole run."""
    over_time = data.assessment.timeline
    if over_time.window is None:  # as if no place had to be full
        over_time = timeline(data.table, None)
    return batches(data.table, over_time).level


def _means(cell: CellResult) -> dict[str, Estimate]:
    means = {metric: intervals.mean(cell.values(metric)) for metric in (*MEANS, *GOODPUT)}
    return {metric: estimate for metric, estimate in means.items() if estimate is not None}


def _percentiles(distributions: dict[str, list[Floats]]) -> dict[str, Estimate]:
    """distributions: name → samples of each repeat."""
    estimates = {}
    for name, repeats in distributions.items():
        count = sum(map(len, repeats))
        for percent, one in intervals.percentiles(repeats, POOLED_PERCENTILES).items():
            least = least_samples(percent)
            estimates[f"{name}.p{percent}"] = one if count >= least else replace(one, needs=least)
    return estimates
