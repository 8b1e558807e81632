"""The cells that meet the objectives (`slo`), and the one among them that serves the most."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis import intervals
from mls.analysis.cell.result import CellResult
from mls.analysis.intervals import Estimate
from mls.analysis.knee import alike
from mls.config.decisions import Standing
from mls.config.sections.checks import Slo


@dataclass(frozen=True)
class Objective:
    """One limit, such as p95 of TTFT at 500 ms."""

    metric: str
    """The key in `CellResult.estimates`, such as `ttft_ms.p95`."""
    limit_ms: float

    def standing(self, cell: CellResult) -> Standing:
        """`unclear` when the limit lies in the interval; `misses` when the figure is unknown."""
        estimate = cell.estimates.get(self.metric)
        if estimate is None:
            return "misses"
        low, high = _bounds(estimate)
        return "meets" if high <= self.limit_ms else "misses" if low > self.limit_ms else "unclear"


@dataclass(frozen=True)
class UnderSlo:
    """The best cell for throughput, among those whose figures are within all limits."""

    objectives: list[Objective]
    cell: CellResult | None
    """None when no cell is within the limits."""
    value: Estimate | None
    """Its throughput."""
    unclear: list[CellResult]
    """Cells with at least its throughput (itself included) whose standing is unclear."""
    measure: list[int]
    """At most two values of inflight to measure, between it and the next that misses."""

    @property
    def resolved(self) -> bool:
        return not self.unclear and not self.measure


def objectives(slo: Slo) -> list[Objective]:
    return [
        Objective(f"{name}.{percentile}", limit)
        for name, limits in slo.limits.items()
        for percentile, limit in limits.by_percentile.items()
    ]


def standing(cell: CellResult, limits: list[Objective]) -> Standing:
    """The standing of a cell to all objectives together: the worst of them."""
    each = {objective.standing(cell) for objective in limits}
    return "misses" if "misses" in each else "unclear" if "unclear" in each else "meets"


def under_slo(slo: Slo, cells: list[CellResult], rate: str) -> UnderSlo | None:
    """The answer under the objectives. None without objectives, or when no cell has the `rate`."""
    limits = objectives(slo)
    candidates = [cell for cell in cells if rate in cell.estimates]
    if not limits or not candidates:
        return None
    within = [cell for cell in candidates if within_limits(cell, limits)]
    if not within:
        unclear = [cell for cell in candidates if standing(cell, limits) == "unclear"]
        return UnderSlo(limits, None, None, unclear, [])
    top = max(within, key=lambda cell: cell.estimates[rate].value)
    equals = [
        cell
        for cell in within
        if cell is top or alike(intervals.ratio(top.values(rate), cell.values(rate)))
    ]
    best = min(equals, key=lambda cell: cell.cell["inflight"])
    value = best.estimates[rate]
    unclear = [
        cell
        for cell in candidates
        if standing(cell, limits) == "unclear"
        and (cell is best or (cell.estimates[rate].value > value.value and cell not in equals))
    ]
    return UnderSlo(limits, best, value, unclear, _between(best, top, candidates, limits, rate))


def within_limits(cell: CellResult, limits: list[Objective]) -> bool:
    """Whether the cell's figures meet all objectives, whatever their intervals."""
    return all(
        o.metric in cell.estimates and cell.estimates[o.metric].value <= o.limit_ms for o in limits
    )


def _between(
    best: CellResult,
    top: CellResult,
    cells: list[CellResult],
    limits: list[Objective],
    rate: str,
) -> list[int]:
    """Ends of the gap up to the next inflight that misses, if more throughput may lie in it."""
    rest = {axis: value for axis, value in top.cell.items() if axis != "inflight"}
    later = sorted(
        (
            cell
            for cell in cells
            if {a: v for a, v in cell.cell.items() if a != "inflight"} == rest
            and cell.cell["inflight"] > top.cell["inflight"]
            and not within_limits(cell, limits)
        ),
        key=lambda cell: cell.cell["inflight"],
    )
    # past a flat top, a larger inflight would only wait longer
    if not later or alike(intervals.ratio(later[0].values(rate), best.values(rate))):
        return []
    gap = range(int(top.cell["inflight"]) + 1, int(later[0].cell["inflight"]))
    return sorted({*gap[:1], *gap[-1:]})


def _bounds(estimate: Estimate) -> tuple[float, float]:
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return low, high
