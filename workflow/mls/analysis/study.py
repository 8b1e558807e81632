"""A whole sweep, cell by cell: estimates over repeats, pooled percentiles, thinned curves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mls.analysis import intervals
from mls.analysis.breakdown import PARTS, Part, parts
from mls.analysis.card import Series, series
from mls.analysis.columns import Floats, ints, succeeded
from mls.analysis.comparable import (
    enough_requests,
    ranks_alike,
    repeats_agree,
    same_thing_measured,
)
from mls.analysis.evidence import worst
from mls.analysis.flight import Flight, flight, window
from mls.analysis.goodput import goodput
from mls.analysis.intervals import Estimate
from mls.analysis.pace import keeps_full
from mls.analysis.results import Repeat, read_cells
from mls.analysis.samples import of_requests, samples
from mls.analysis.support import least_samples
from mls.model.config import Config
from mls.model.load import Load
from mls.model.result import Summary, Verdict
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
CURVE_POINTS = 200
COURSE_POINTS = 300
DOTS = 200


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
class Dots:
    """Requests of one repeat by their start in s, thinned for drawing; NaN: not known."""

    at_s: Floats
    latency_ms: Floats
    ttft_ms: Floats
    of: int
    """Number of successful requests before thinning."""


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
    found = [_cell(config, cell, repeats) for cell, repeats in read_cells(config, results)]
    same = same_thing_measured(found)
    cells = [
        replace(c, verdicts=(*c.verdicts, v)) if c.ok else c
        for c, v in zip(found, same, strict=True)
    ]
    rate = f"{Study(config, cells).rates}.completion_tokens_per_s"
    alike = ranks_alike(cells, rate, config.checks)
    cells = [
        replace(c, verdicts=(*c.verdicts, v)) if v else c for c, v in zip(cells, alike, strict=True)
    ]
    return Study(config, cells)


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


def _cell(config: Config, cell: Cell, repeats: list[Repeat]) -> CellResult:
    bare = CellResult(cell, [repeat.slim() for repeat in repeats], {}, {}, None)
    if not bare.ok:
        return bare
    estimates = {metric: intervals.mean(bare.values(metric)) for metric in MEANS}
    raw: dict[str, list[Floats]] = {name: [] for name in POOLED}
    course = None
    good: list[dict[str, float]] = []
    tables = []
    for repeat in repeats:
        table = repeat.records
        if table is None:
            continue
        found = samples(table)
        good.append(goodput(table, config.slo, _asked(repeat)))
        tables.append(table)
        for name in POOLED:
            raw[name].append(found[name])
        if course is None:
            full = flight(table)
            course = _course(repeat, full, window(table, full, _asked(repeat)))
            bare = replace(bare, dots=_dots(table))
    bare = replace(bare, good=tuple(good))
    estimates |= {metric: intervals.mean(bare.values(metric)) for metric in GOODPUT}
    for name in POOLED:
        enough = sum(map(len, raw[name]))
        for percent, one in intervals.percentiles(raw[name], POOLED_PERCENTILES).items():
            least = least_samples(percent)
            estimates[f"{name}.p{percent}"] = one if enough >= least else replace(one, needs=least)
    curves = {name: _curve(np.concatenate(found)) for name, found in raw.items()}
    known = {name: found for name, found in estimates.items() if found is not None}
    sampled = next((told for r in bare.ok if (told := r.telemetry()) is not None), None)
    telemetry = series(sampled) if sampled is not None else {}
    latencies = raw["latency_ms"]
    verdicts = (
        enough_requests(sum(map(len, latencies)), config.checks),
        repeats_agree([repeat.number for repeat in bare.ok], latencies, config.checks),
    )
    return replace(
        bare,
        estimates=known,
        curves=curves,
        course=course,
        telemetry=telemetry,
        parts={column: parts(tables, column) for column in PARTS},
        verdicts=verdicts,
    )


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


def _dots(table: pa.Table) -> Dots | None:
    ok = succeeded(table)
    if not ok.any():
        return None
    start = ints(table, "start_ns").values
    order = np.flatnonzero(ok)[np.argsort(start[ok], kind="stable")]
    at = (start[order] - start[order[0]]) / NS_PER_S
    figures = of_requests(table)
    latency, ttft = figures["latency_ms"][order], figures["ttft_ms"][order]
    keep = list(range(len(order)))
    if len(keep) > DOTS:
        keep = _extremes(at, latency, DOTS // 2)
    return Dots(at[keep], latency[keep], ttft[keep], len(order))


def _extremes(at: Floats, count: Floats, bins: int) -> list[int]:
    """Least and greatest value of each stretch of time, so that thinning hides no dip."""
    edges = np.linspace(at[0], at[-1], bins + 1)
    groups = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, bins - 1)
    cuts = np.flatnonzero(np.diff(groups)) + 1
    kept: set[int] = {0, len(at) - 1}
    for part in np.split(np.arange(len(at)), cuts):
        kept |= {int(part[count[part].argmin()]), int(part[count[part].argmax()])}
    return sorted(kept)
