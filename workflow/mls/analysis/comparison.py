"""Two sets of results, cell by cell: what changed, by how much, and whether it may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mls.analysis import intervals
from mls.analysis.canaries.change import CanaryChange, canary_change
from mls.analysis.cell.result import CellResult
from mls.analysis.intervals import Estimate
from mls.analysis.study import Study

Finding = Literal["worse", "can't tell", "better", "same"]
ORDER: tuple[Finding, ...] = ("worse", "can't tell", "better", "same")
"""The finding on a cell with several metrics is the first of these that one of its metrics has."""

MARGIN = 0.05
"""Changes up to this fraction don't matter, unless the user sets another margin."""
SAME_MARGINS = 2
"""`same` requires that a change of this many margins would have shown."""

ALPHA = 0.05
"""Of a comparison's figures that are called worse (or better), this share may be so by chance."""


@dataclass(frozen=True)
class Metric:
    name: str
    """The key in `Summary`, which has one figure a repeat."""
    title: str
    unit: str
    higher_is_better: bool


LATENCIES = (
    Metric("latency_ms.mean", "Mean latency", "ms", False),
    Metric("latency_ms.p95", "Latency p95", "ms", False),
    Metric("ttft_ms.p95", "TTFT p95", "ms", False),
    Metric("tpot_ms.mean", "Mean TPOT", "ms", False),
)

FIRST_ANSWER = Metric("ttfa_ms.p95", "TTFA p95", "ms", False)
"""Compared where one of two cells thinks: elsewhere it would be TTFT once more."""


@dataclass(frozen=True)
class Change:
    """The change of one metric in one cell."""

    metric: Metric
    base: Estimate
    new: Estimate
    ratio: Estimate
    """New over base."""
    chance: float | None
    """Probability that a figure looks this much worse, or more, without any real difference.

    None with a single repeat."""
    finding: Finding


@dataclass(frozen=True)
class CellChange:
    cell: dict[str, Any]
    base: CellResult
    new: CellResult
    changes: list[Change]

    @property
    def finding(self) -> Finding:
        """The first of `ORDER` among the changes; `can't tell` when nothing could be compared."""
        findings = {change.finding for change in self.changes}
        return next((finding for finding in ORDER if finding in findings), "can't tell")

    @property
    def distrusted(self) -> list[str]:
        """Names of the checks that failed on either side."""
        return list(dict.fromkeys([*self.base.checks("fail"), *self.new.checks("fail")]))


@dataclass(frozen=True)
class Comparison:
    cells: list[CellChange]
    only_base: list[dict[str, Any]]
    only_new: list[dict[str, Any]]
    margin: float
    canaries: CanaryChange | None = None

    def worse(self) -> list[CellChange]:
        return [cell for cell in self.cells if cell.finding == "worse"]


def compare(base: Study, new: Study, margin: float = MARGIN) -> Comparison:
    """Compare the cells that both have. margin: the fraction that a change must exceed to matter.

    Cells are the same when their axes have the same values. An axis that only one side has must be
    constant there, and is then left out. Of the many figures some differ by chance:
    `judged_together` accounts for that.
    """
    shared = _shared_axes(base, new)
    before = {_key(cell, shared): cell for cell in base.cells if cell.ok}
    after = {_key(cell, shared): cell for cell in new.cells if cell.ok}
    steady = "throughput" == base.rates == new.rates
    rates = [study.rate_of("throughput" if steady else "overall") for study in (base, new)]
    # one side whose tokens aren't counted leaves requests to compare
    rate = next((each for each in rates if each.unit == "requests/s"), rates[0])
    metrics = (
        Metric(rate.metric, "Throughput", rate.unit, True),
        *LATENCIES,
    )
    pairs = [(before[key], cell) for key, cell in after.items() if key in before]
    changes = judged_together([_changes(old, cell, metrics, margin) for old, cell in pairs])
    return Comparison(
        cells=[
            CellChange(_axis_values(cell, shared), old, cell, own)
            for (old, cell), own in zip(pairs, changes, strict=True)
        ],
        only_base=[_axis_values(cell, shared) for key, cell in before.items() if key not in after],
        only_new=[_axis_values(cell, shared) for key, cell in after.items() if key not in before],
        margin=margin,
        canaries=canary_change((_axis_values(cell, shared), old, cell) for old, cell in pairs),
    )


def judge_ratio(worse: Estimate, margin: float) -> Finding:
    """The finding on one ratio by itself.

    worse: how many times worse the new figure is than the base, with its 95 % interval. `worse` and
    `better`: the change exceeds the margin, and the interval excludes 1. `same`: neither holds, and
    the interval lies within `SAME_MARGINS` margins, so a greater change would have shown.
    """
    if worse.low is None or worse.high is None:
        return "can't tell"
    if worse.low > 1 and worse.value > 1 + margin:
        return "worse"
    if worse.high < 1 and worse.value < 1 / (1 + margin):
        return "better"
    wide = 1 + SAME_MARGINS * margin
    return "same" if 1 / wide <= worse.low and worse.high <= wide else "can't tell"


def change(
    metric: Metric, base: Sequence[float], new: Sequence[float], margin: float
) -> Change | None:
    """The change of one metric by itself, from one figure a repeat on either side.

    None when a side has no figure, or one that is not above 0.
    """
    ratio = intervals.ratio(new, base)
    before, after = intervals.mean(base), intervals.mean(new)
    if ratio is None or before is None or after is None:
        return None
    worse = ratio.inverse() if metric.higher_is_better else ratio
    sides = (base, new) if metric.higher_is_better else (new, base)
    chance = intervals.chance_of_more(*sides)
    return Change(metric, before, after, ratio, chance, judge_ratio(worse, margin))


def judged_together(cells: Sequence[Sequence[Change]]) -> list[list[Change]]:
    """The changes of each cell. A change that may be chance among so many becomes `can't tell`.

    The method is the false discovery rate of Benjamini and Hochberg (*Journal of the Royal
    Statistical Society* B 57, 1995), applied to all that may be worse and to all that may be
    better.
    """
    from scipy import stats  # its import takes a second

    chances = [change.chance for own in cells for change in own if change.chance is not None]
    worse = dict(zip(chances, stats.false_discovery_control(chances), strict=True))
    lower = [1 - chance for chance in chances]
    better = dict(zip(chances, stats.false_discovery_control(lower), strict=True))

    def judge(change: Change) -> Change:
        if change.chance is None or change.finding not in ("worse", "better"):
            return change
        rate = (worse if change.finding == "worse" else better)[change.chance]
        return change if rate <= ALPHA else replace(change, finding="can't tell")

    return [[judge(change) for change in own] for own in cells]


def _changes(
    base: CellResult, new: CellResult, metrics: Sequence[Metric], margin: float
) -> list[Change]:
    if base.thinks or new.thinks:
        metrics = [*metrics, FIRST_ANSWER]
    changes = (change(m, base.values(m.name), new.values(m.name), margin) for m in metrics)
    return [one for one in changes if one]


def _shared_axes(base: Study, new: Study) -> list[str]:
    """Axes that both sides have, in the order of the new one, and all axes that vary on either."""
    there = set(base.cells[0].cell) if base.cells else set()
    here = list(new.cells[0].cell) if new.cells else []
    varying = {*base.varying, *new.varying}
    return [axis for axis in here if axis in there] + sorted(varying - there.intersection(here))


def _key(cell: CellResult, axes: list[str]) -> tuple[str, ...]:
    return tuple(str(cell.cell.get(axis)) for axis in axes)


def _axis_values(cell: CellResult, axes: list[str]) -> dict[str, Any]:
    return {axis: cell.cell.get(axis) for axis in axes}
