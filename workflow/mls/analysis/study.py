"""A whole sweep, cell by cell: estimates over repeats, pooled percentiles, thinned curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from mls.analysis import intervals
from mls.analysis.checks.cells import enough_requests, repeats_agree, same_thing_measured
from mls.analysis.checks.measured_together import When, measured_together, whens
from mls.analysis.checks.ranks_alike import ranks_alike
from mls.analysis.intervals import Estimate
from mls.analysis.parallel import on_cores
from mls.analysis.repeat.batches import batches
from mls.analysis.repeat.breakdown import PARTS, Part, parts
from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.downsample import Course, Curve, Dots, course, curve, dots
from mls.analysis.repeat.evidence import worst
from mls.analysis.repeat.goodput import goodput
from mls.analysis.repeat.gpu import Series, series
from mls.analysis.repeat.in_flight import timeline
from mls.analysis.repeats import Repeat, RepeatData, read_cell
from mls.analysis.sample_size import least_samples
from mls.config.cells import Cell, axes
from mls.config.config import Config
from mls.config.decisions import Decision, Runs, last_decisions, planned
from mls.core.run_result import Summary, Verdict

MEANS = (
    "throughput.requests_per_s",
    "throughput.completion_tokens_per_s",
    "throughput.prompt_tokens_per_s",
    "overall.requests_per_s",
    "overall.completion_tokens_per_s",
    "latency_ms.mean",
    "ttft_ms.mean",
    "tpot_ms.mean",
    "itl_ms.mean",
    "queue_ms.mean",
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
"""Figures of `goodput`, averaged over repeats; there are none without objectives."""

POOLED = ("latency_ms", "latency_from_scheduled_ms", "ttft_ms", "tpot_ms", "itl_ms")
"""Distributions whose percentiles are taken from the raw samples of all repeats together."""

POOLED_PERCENTILES = (50, 90, 95, 99)
REPLIES = 2


@dataclass(frozen=True)
class CellResult:
    """All that is known of one cell. `estimates` lacks what could not be measured."""

    cell: Cell
    repeats: list[Repeat]
    estimates: dict[str, Estimate]
    """By name: those of `MEANS`, and `<distribution>.p<percentile>` of `POOLED`."""
    curves: dict[str, Curve]
    course: Course | None
    telemetry: dict[tuple[str, str], Series] = field(default_factory=dict)
    """(source, name) → time series of the first repeat that has any."""
    dots: Dots | None = None
    good: tuple[dict[str, float], ...] = ()
    """Goodput of each repeat that is ok."""
    verdicts: tuple[Verdict, ...] = ()
    """On the cell as a whole; those on each repeat are in its result."""
    parts: dict[str, list[Part]] = field(default_factory=dict)
    """By `stage` and `turn`; a list is empty where the load has none."""
    replies: tuple[str, ...] = ()
    """What the model said first; empty unless the config asks to keep it (`run.keep_output`)."""
    when: When | None = None
    """None where it isn't recorded."""

    @property
    def ok(self) -> list[Repeat]:
        return [repeat for repeat in self.repeats if repeat.status == "ok"]

    @property
    def verdict(self) -> str:
        """The worst on it or on any of its repeats; `fail` when a repeat has no result."""
        if len(self.ok) < len(self.repeats):
            return "fail"
        return worst(v.status for v in self._all())

    def checks(self, *statuses: str) -> dict[str, int]:
        """Checks with one of these statuses → number of repeats that have it (1: the cell)."""
        return dict(Counter(v.check for v in self._all() if v.status in statuses))

    @cached_property
    def _flat(self) -> list[dict[str, Any]]:
        """`Summary` of each repeat that is ok, flattened."""
        return [flatten(repeat.result.summary) for repeat in self.ok if repeat.result]

    def _all(self) -> list[Verdict]:
        return [*(v for repeat in self.ok for v in _verdicts(repeat)), *self.verdicts]

    def values(self, metric: str) -> list[float]:
        """A figure of `Summary`, or of the goodput, in each repeat that has it."""
        if metric in GOODPUT:
            return [found[metric] for found in self.good if metric in found]
        found = [flat.get(metric) for flat in self._flat]
        return [float(value) for value in found if value is not None]


@dataclass(frozen=True)
class Rate:
    """What throughput is: a figure of `Summary`, and its unit."""

    metric: str
    unit: str


@dataclass(frozen=True)
class Study:
    config: Config
    cells: list[CellResult]
    decisions: tuple[Decision, ...] = ()
    """Of each line the last, where results decide what is measured."""

    @property
    def varying(self) -> list[str]:
        """Axes with more than one value, in their order."""
        return [
            axis for axis in axes(self.config) if len({str(c.cell[axis]) for c in self.cells}) > 1
        ]

    @property
    def rates(self) -> str:
        """`throughput` when every repeat has a steady window, else `overall` for all.

        One kind for the whole study: a windowed rate can't be compared with a whole run's.
        Cells on which a check failed don't count, unless there are no others.
        """
        steady = [
            r.result is not None and r.result.summary.window_s is not None
            for cell in self._believed
            for r in cell.ok
        ]
        return "throughput" if all(steady) else "overall"

    @property
    def rate(self) -> Rate:
        """Throughput in tokens/s, or in requests/s where replies have no tokens, or none that are counted."""
        return self.rate_of(self.rates)

    def rate_of(self, rates: str) -> Rate:
        """The same with `throughput` or `overall` given."""
        run = self.config.run
        endpoints = {str(cell.cell.get("endpoint", run.endpoint)) for cell in self.cells}
        embeds = all(run.model_copy(update={"endpoint": one}).embeds for one in endpoints)
        tokens = f"{rates}.completion_tokens_per_s"
        if embeds or not all(len(cell.values(tokens)) == len(cell.ok) for cell in self._believed):
            return Rate(f"{rates}.requests_per_s", "requests/s")
        return Rate(tokens, "tokens/s")

    @property
    def _believed(self) -> list[CellResult]:
        """Cells on which no check failed; all, where there are no others."""
        return [cell for cell in self.cells if not cell.checks("fail")] or self.cells


def read_study(config: Config, results: Path, runs: Runs | None = None) -> Study:
    """Read all results of a config, one cell's records in memory at a time and core. Raises `UserError`.

    runs: only these; by default all that the config, and decisions on its results, ask for.
    """
    wanted = planned(config, results) if runs is None else runs
    found = on_cores(partial(_read, config, results), wanted)
    found = [replace(c, when=w) for c, w in zip(found, whens(found, config.checks), strict=True)]
    same = [v if c.ok else None for c, v in zip(found, same_thing_measured(found), strict=True)]
    found = _with(found, same)
    found = _with(found, ranks_alike(found, Study(config, found).rate.metric, config.checks))
    found = _with(found, measured_together(found, config.checks))
    return Study(config, found, tuple(last_decisions(config, results)))


def _with(cells: list[CellResult], verdicts: Sequence[Verdict | None]) -> list[CellResult]:
    """Each cell with a further verdict, where it has one."""
    return [
        replace(c, verdicts=(*c.verdicts, v)) if v else c
        for c, v in zip(cells, verdicts, strict=True)
    ]


def flatten(summary: Summary) -> dict[str, Any]:
    """`Summary` as one level, keys joined by dots; what differs in length from run to run is left out."""
    found: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        elif not isinstance(value, list):
            found[prefix] = value

    walk("", summary.model_dump(exclude={"requests": {"errors"}}))
    return found


def _verdicts(repeat: Repeat) -> list[Verdict]:
    return repeat.result.verdicts if repeat.result else []


def _read(config: Config, results: Path, wanted: tuple[Cell, list[int]]) -> CellResult:
    cell, numbers = wanted
    return _cell(config, cell, read_cell(config, results, cell, numbers))


def _cell(config: Config, cell: Cell, repeats: list[Repeat]) -> CellResult:
    bare = CellResult(cell, [repeat.slim() for repeat in repeats], {}, {}, None)
    if not bare.ok:
        return bare
    read = [repeat.data for repeat in repeats if repeat.data is not None]
    good = tuple(goodput(r.table, config.slo, r.assessment.timeline) for r in read)
    bare = replace(bare, good=good)
    drawn = [r.assessment.samples for r in read]
    raw = {name: [found[name] for found in drawn] for name in POOLED}
    latencies = raw["latency_ms"]
    verdicts = (
        enough_requests(sum(map(len, latencies)), config.checks),
        repeats_agree(
            [repeat.number for repeat in bare.ok],
            latencies,
            [_levels(r) for r in read],
            config.checks,
        ),
    )
    first = read[0]
    sampled = next((r.telemetry for r in read if r.telemetry is not None), None)
    return replace(
        bare,
        estimates=_means(bare) | _percentiles(raw),
        curves={name: curve(np.concatenate(found)) for name, found in raw.items()},
        course=course(bare.ok[0].number, first.assessment.timeline),
        telemetry=series(sampled) if sampled is not None else {},
        dots=dots(first.table),
        parts={column: parts([r.table for r in read], column) for column in PARTS},
        replies=tuple(first.table.column("output").drop_null().slice(0, REPLIES).to_pylist()),
        verdicts=verdicts,
    )


def _levels(data: RepeatData) -> Floats:
    """Mean latencies of the batches of the window; of the whole run when there is none."""
    over_time = data.assessment.timeline
    if over_time.window is None:  # as if no place had to be full
        over_time = timeline(data.table, None)
    return batches(data.table, over_time).level


def _means(cell: CellResult) -> dict[str, Estimate]:
    found = {metric: intervals.mean(cell.values(metric)) for metric in (*MEANS, *GOODPUT)}
    return {metric: estimate for metric, estimate in found.items() if estimate is not None}


def _percentiles(raw: dict[str, list[Floats]]) -> dict[str, Estimate]:
    """raw: samples of each repeat, by distribution."""
    estimates = {}
    for name, repeats in raw.items():
        count = sum(map(len, repeats))
        for percent, one in intervals.percentiles(repeats, POOLED_PERCENTILES).items():
            least = least_samples(percent)
            estimates[f"{name}.p{percent}"] = one if count >= least else replace(one, needs=least)
    return estimates
