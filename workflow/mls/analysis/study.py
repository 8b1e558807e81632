"""A whole sweep, cell by cell: estimates over repeats, pooled percentiles, thinned curves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mls.analysis import intervals
from mls.analysis.breakdown import PARTS, Part, parts
from mls.analysis.card import Series, series
from mls.analysis.columns import Floats
from mls.analysis.evidence import worst
from mls.analysis.flight import Flight, flight, window
from mls.analysis.intervals import Estimate
from mls.analysis.pace import keeps_full
from mls.analysis.results import Repeat, read_cells
from mls.analysis.samples import samples
from mls.model.config import Config
from mls.model.load import Load
from mls.model.result import Summary
from mls.model.sweep import Cell, axes
from mls.model.units import NS_PER_S
from mls.model.workload import Workload

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

POOLED = ("latency_ms", "latency_from_scheduled_ms", "ttft_ms", "tpot_ms", "itl_ms")
"""Distributions whose percentiles are taken from the raw samples of all repeats together."""

POOLED_PERCENTILES = (50, 95, 99)
CURVE_POINTS = 400
COURSE_POINTS = 600


@dataclass(frozen=True)
class Curve:
    """An empirical distribution function, thinned for drawing: share `y` of samples is at most `x`."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class Course:
    """Requests in flight over the time of one repeat in s, thinned for drawing; a step function."""

    repeat: int
    at_s: Floats
    count: Floats
    window_s: tuple[float, float] | None


@dataclass(frozen=True)
class CellResult:
    """All that is known of one cell. `estimates` lacks what could not be measured."""

    cell: Cell
    repeats: list[Repeat]
    estimates: dict[str, Estimate]
    """By name: those of `MEANS`, and `<distribution>.p<percentile>` of `POOLED`."""
    curves: dict[str, Curve]
    course: Course | None
    telemetry: dict[tuple[str, str], Series]
    """(source, name) → time series of the first repeat that has any."""
    parts: dict[str, list[Part]] = field(default_factory=dict)
    """By `stage` and `turn`; a list is empty where the load has none."""

    @property
    def ok(self) -> list[Repeat]:
        return [repeat for repeat in self.repeats if repeat.status == "ok"]

    @property
    def verdict(self) -> str:
        """The worst verdict on any of its repeats; `fail` when a repeat has no result."""
        if len(self.ok) < len(self.repeats):
            return "fail"
        return worst(v.status for repeat in self.ok for v in _verdicts(repeat))

    def checks(self, *statuses: str) -> dict[str, int]:
        """Checks with one of these statuses → number of repeats that have it."""
        return dict(Counter(v.check for r in self.ok for v in _verdicts(r) if v.status in statuses))

    def values(self, metric: str) -> list[float]:
        """A figure of `Summary` in each repeat that has it."""
        found = [flatten(r.result.summary).get(metric) for r in self.ok if r.result]
        return [float(value) for value in found if value is not None]


@dataclass(frozen=True)
class Study:
    config: Config
    cells: list[CellResult]

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
        believed = [cell for cell in self.cells if not cell.checks("fail")]
        steady = [
            r.result is not None and r.result.summary.window_s is not None
            for cell in believed or self.cells
            for r in cell.ok
        ]
        return "throughput" if all(steady) else "overall"


def read_study(config: Config, results: Path) -> Study:
    """Read all results of a config, one cell's records in memory at a time. Raises `UserError`."""
    return Study(config, [_cell(cell, repeats) for cell, repeats in read_cells(config, results)])


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


def _verdicts(repeat: Repeat) -> list[Any]:
    return repeat.result.verdicts if repeat.result else []


def _cell(cell: Cell, repeats: list[Repeat]) -> CellResult:
    bare = CellResult(cell, repeats, {}, {}, None, {})
    if not bare.ok:
        return bare
    estimates = {metric: intervals.mean(bare.values(metric)) for metric in MEANS}
    raw: dict[str, list[Floats]] = {name: [] for name in POOLED}
    course = None
    tables = []
    for repeat in bare.ok:
        table = repeat.records()
        found = samples(table)
        tables.append(table)
        for name in POOLED:
            raw[name].append(found[name])
        if course is None:
            course = _course(repeat, flight(table), window(table, flight(table), _asked(repeat)))
    for name in POOLED:
        for percentile in POOLED_PERCENTILES:
            statistic = partial(np.percentile, q=percentile)
            estimates[f"{name}.p{percentile}"] = intervals.pooled(raw[name], statistic)
    curves = {name: _curve(np.concatenate(found)) for name, found in raw.items()}
    known = {name: found for name, found in estimates.items() if found is not None}
    sampled = next((told for r in bare.ok if (told := r.telemetry()) is not None), None)
    telemetry = series(sampled) if sampled is not None else {}
    split = {column: parts(tables, column) for column in PARTS}
    return CellResult(cell, repeats, known, curves, course, telemetry, split)


def _asked(repeat: Repeat) -> int | None:
    """Places that the load keeps full; None when it keeps none full."""
    if repeat.result is None:
        return int(repeat.cell["inflight"])
    given = repeat.result.config
    load = Load.model_validate(given.get("load", {}))
    workload = Workload.model_validate(given.get("workload", {}))
    return repeat.result.summary.inflight.asked if keeps_full(load, workload) else None


def _curve(values: Floats) -> Curve:
    """Every sample when there are few, else evenly spaced quantiles from the least to the greatest."""
    ordered = np.sort(values)
    rank = np.unique(
        np.linspace(0, max(len(ordered) - 1, 0), min(len(ordered), CURVE_POINTS)).round()
    )
    return Curve(ordered[rank.astype(np.int64)], (rank + 1) / max(len(ordered), 1))


def _course(repeat: Repeat, full: Flight, steady: tuple[int, int] | None) -> Course | None:
    if not len(full.at_ns):
        return None
    zero = int(full.at_ns[0])
    at, count = (full.at_ns - zero) / NS_PER_S, full.count.astype(float)
    if len(at) > COURSE_POINTS:
        keep = _extremes(at, count, COURSE_POINTS // 2)
        at, count = at[keep], count[keep]
    seconds = ((steady[0] - zero) / NS_PER_S, (steady[1] - zero) / NS_PER_S) if steady else None
    return Course(repeat.number, at, count, seconds)


def _extremes(at: Floats, count: Floats, bins: int) -> list[int]:
    """Least and greatest count of each stretch of time, so that thinning hides no dip."""
    edges = np.linspace(at[0], at[-1], bins + 1)
    groups = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, bins - 1)
    cuts = np.flatnonzero(np.diff(groups)) + 1
    kept: set[int] = {0, len(at) - 1}
    for part in np.split(np.arange(len(at)), cuts):
        kept |= {int(part[count[part].argmin()]), int(part[count[part].argmax()])}
    return sorted(kept)
