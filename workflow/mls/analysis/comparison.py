"""Two sets of results, cell by cell: what changed, by how much, and can it be told from chance?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mls.analysis import intervals
from mls.analysis.intervals import Estimate
from mls.analysis.study import CellResult, Study

Finding = Literal["worse", "can't tell", "better", "same"]
ORDER: tuple[Finding, ...] = ("worse", "can't tell", "better", "same")
"""What is told of a cell with several metrics: the first of these that one of them has."""

MARGIN = 0.05
"""Changes up to this fraction don't matter, unless the user says otherwise."""
SEEN = 2
"""`same` is said only when a change of so many margins would have shown."""


@dataclass(frozen=True)
class Metric:
    name: str
    """As in `Summary`, one figure a repeat."""
    title: str
    unit: str
    higher_is_better: bool


LATENCIES = (
    Metric("latency_ms.mean", "Mean latency", "ms", False),
    Metric("latency_ms.p95", "Latency p95", "ms", False),
    Metric("ttft_ms.p95", "TTFT p95", "ms", False),
    Metric("tpot_ms.mean", "Mean TPOT", "ms", False),
)


@dataclass(frozen=True)
class Change:
    """Of one metric in one cell."""

    metric: Metric
    base: Estimate
    new: Estimate
    ratio: Estimate
    """New over base."""
    finding: Finding


@dataclass(frozen=True)
class CellChange:
    cell: dict[str, Any]
    base: CellResult
    new: CellResult
    changes: list[Change]

    @property
    def finding(self) -> Finding:
        """`can't tell` when nothing could be compared, too."""
        found = {change.finding for change in self.changes}
        return next((finding for finding in ORDER if finding in found), "can't tell")

    @property
    def distrusted(self) -> list[str]:
        """Checks that failed on either side."""
        return list(dict.fromkeys([*self.base.checks("fail"), *self.new.checks("fail")]))


@dataclass(frozen=True)
class Comparison:
    cells: list[CellChange]
    only_base: list[dict[str, Any]]
    only_new: list[dict[str, Any]]
    margin: float

    def worse(self) -> list[CellChange]:
        return [cell for cell in self.cells if cell.finding == "worse"]


def compare(base: Study, new: Study, margin: float = MARGIN) -> Comparison:
    """Compare the cells that both have. margin: the fraction that a change must exceed to matter.

    Cells are the same when their axes have the same values; an axis that only one side has must
    be constant there, and is then left out.
    """
    shared = _shared_axes(base, new)
    before = {_key(cell, shared): cell for cell in base.cells if cell.ok}
    after = {_key(cell, shared): cell for cell in new.cells if cell.ok}
    steady = "throughput" == base.rates == new.rates
    rate = new.rate_of("throughput" if steady else "overall")
    metrics = (
        Metric(rate.metric, "Throughput", rate.unit, True),
        *LATENCIES,
    )
    return Comparison(
        cells=[
            CellChange(
                _named(cell, shared),
                before[key],
                cell,
                _changes(before[key], cell, metrics, margin),
            )
            for key, cell in after.items()
            if key in before
        ],
        only_base=[_named(cell, shared) for key, cell in before.items() if key not in after],
        only_new=[_named(cell, shared) for key, cell in after.items() if key not in before],
        margin=margin,
    )


def judge_ratio(worse: Estimate, margin: float) -> Finding:
    """worse: how many times worse the new figure is than the base, with its 95 % interval.

    `worse` and `better`: by more than the margin, and the interval excludes 1. `same`: neither,
    and the interval lies within `SEEN` margins, so that a greater change would have shown.
    """
    if worse.low is None or worse.high is None:
        return "can't tell"
    if worse.low > 1 and worse.value > 1 + margin:
        return "worse"
    if worse.high < 1 and worse.value < 1 / (1 + margin):
        return "better"
    wide = 1 + SEEN * margin
    return "same" if 1 / wide <= worse.low and worse.high <= wide else "can't tell"


def change(
    metric: Metric, base: Sequence[float], new: Sequence[float], margin: float
) -> Change | None:
    """A change from one figure a repeat on either side; None when a side has none above 0."""
    ratio = intervals.ratio(new, base)
    before, after = intervals.mean(base), intervals.mean(new)
    if ratio is None or before is None or after is None:
        return None
    worse = ratio.inverse() if metric.higher_is_better else ratio
    return Change(metric, before, after, ratio, judge_ratio(worse, margin))


def _changes(
    base: CellResult, new: CellResult, metrics: Sequence[Metric], margin: float
) -> list[Change]:
    found = (change(m, base.values(m.name), new.values(m.name), margin) for m in metrics)
    return [one for one in found if one]


def _shared_axes(base: Study, new: Study) -> list[str]:
    """Axes that tell cells apart on both sides, in the order of the new one."""
    there = set(base.cells[0].cell) if base.cells else set()
    here = list(new.cells[0].cell) if new.cells else []
    varying = {*base.varying, *new.varying}
    return [axis for axis in here if axis in there] + sorted(varying - there.intersection(here))


def _key(cell: CellResult, axes: list[str]) -> tuple[str, ...]:
    return tuple(str(cell.cell.get(axis)) for axis in axes)


def _named(cell: CellResult, axes: list[str]) -> dict[str, Any]:
    return {axis: cell.cell.get(axis) for axis in axes}
