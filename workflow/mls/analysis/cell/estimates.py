"""From the repeats of a cell to its results: means, pooled percentiles, curves for drawing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mls.analysis import intervals
from mls.analysis.canaries.replies import (
    DIFFERENT,
    MeasuredRepeat,
    canary_replies,
    different_share,
)
from mls.analysis.cell.depth import depth_estimates
from mls.analysis.cell.metrics import GOODPUT, MEANS, POOLED, POOLED_PERCENTILES
from mls.analysis.cell.result import CellResult
from mls.analysis.checks.cells.agreement import enough_requests, repeats_agree
from mls.analysis.efficiency.cost import costs
from mls.analysis.intervals import Estimate
from mls.analysis.repeat.batches import batches
from mls.analysis.repeat.breakdown import PARTS, parts
from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.downsample import course, curve, dots
from mls.analysis.repeat.goodput import goodput
from mls.analysis.repeat.hardware.series import series
from mls.analysis.repeat.in_flight import timeline
from mls.analysis.repeat.speculation import by_category
from mls.analysis.repeats import Repeat, RepeatData
from mls.analysis.sample_size import least_samples
from mls.config.axes import Cell
from mls.config.config import Config

REPLIES = 2


def cell_result(config: Config, cell: Cell, repeats: list[Repeat]) -> CellResult:
    """The results of a cell. Repeats are kept without their records."""
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
        | (depth_estimates(r.table for r in data) if config.workload.kind == "depth" else {})
        | costs([r.assessment.summary for r in data], config.price.per_hour),
        curves={name: curve(np.concatenate(own)) for name, own in distributions.items()},
        course=course(result.ok[0].number, first.assessment.timeline),
        telemetry=series(telemetry) if telemetry is not None else {},
        dots=dots(first.table),
        parts={
            column: parts([r.table for r in data], column, config.workload.own_replies)
            for column in PARTS
        },
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
