"""Which cells meet the objectives (`slo`), and which of them serves the most."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis import intervals
from mls.analysis.intervals import Estimate
from mls.analysis.knee import alike
from mls.analysis.study import CellResult
from mls.config.decisions import Standing
from mls.config.sections.checks import Slo


@dataclass(frozen=True)
class Objective:
    """One limit, such as p95 of TTFT at 500 ms."""

    metric: str
    """As in `CellResult.estimates`: `ttft_ms.p95`."""
    limit_ms: float

    def standing(self, cell: CellResult) -> Standing:
        """`unclear` when the limit lies within the interval; a figure that is not known misses."""
        found = cell.estimates.get(self.metric)
        if found is None:
            return "misses"
        low, high = _bounds(found)
        return "meets" if high <= self.limit_ms else "misses" if low > self.limit_ms else "unclear"


@dataclass(frozen=True)
class UnderSlo:
    """The best cell for throughput among those whose figures are within all limits."""

    objectives: list[Objective]
    cell: CellResult | None
    """None: no cell is within the limits."""
    value: Estimate | None
    """Its throughput."""
    unclear: list[CellResult]
    """Cells with at least its throughput, it among them, of which the intervals don't tell whether they meet."""
    measure: list[int]
    """Values of inflight between it and the next that misses, not measured yet: at most two."""

    @property
    def resolved(self) -> bool:
        return not self.unclear and not self.measure


def objectives(slo: Slo) -> list[Objective]:
    return [
        Objective(f"{name}.{percentile}", limit)
        for name, limits in slo.limits.items()
        for percentile, limit in limits.by_percentile.items()
    ]


def standing(cell: CellResult, asked: list[Objective]) -> Standing:
    """Of a cell to all objectives together: the worst."""
    found = {objective.standing(cell) for objective in asked}
    return "misses" if "misses" in found else "unclear" if "unclear" in found else "meets"


def under_slo(slo: Slo, cells: list[CellResult], rate: str) -> UnderSlo | None:
    """The answer under the objectives; None without any, or without a cell that has the `rate`."""
    asked = objectives(slo)
    known = [cell for cell in cells if rate in cell.estimates]
    if not asked or not known:
        return None
    within = [cell for cell in known if within_limits(cell, asked)]
    if not within:
        unclear = [cell for cell in known if standing(cell, asked) == "unclear"]
        return UnderSlo(asked, None, None, unclear, [])
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
        for cell in known
        if standing(cell, asked) == "unclear"
        and (cell is best or (cell.estimates[rate].value > value.value and cell not in equals))
    ]
    return UnderSlo(asked, best, value, unclear, _between(best, top, known, asked, rate))


def within_limits(cell: CellResult, asked: list[Objective]) -> bool:
    """Whether its figures themselves meet all objectives, whatever their intervals."""
    return all(
        o.metric in cell.estimates and cell.estimates[o.metric].value <= o.limit_ms for o in asked
    )


def _between(
    best: CellResult,
    top: CellResult,
    cells: list[CellResult],
    asked: list[Objective],
    rate: str,
) -> list[int]:
    """Ends of the gap between the best and the next inflight, if more throughput may lie in it."""
    rest = {axis: value for axis, value in top.cell.items() if axis != "inflight"}
    later = sorted(
        (
            cell
            for cell in cells
            if {a: v for a, v in cell.cell.items() if a != "inflight"} == rest
            and cell.cell["inflight"] > top.cell["inflight"]
            and not within_limits(cell, asked)
        ),
        key=lambda cell: cell.cell["inflight"],
    )
    # past a flat top, a larger inflight would only wait longer
    if not later or alike(intervals.ratio(later[0].values(rate), best.values(rate))):
        return []
    gap = range(int(top.cell["inflight"]) + 1, int(later[0].cell["inflight"]))
    return sorted({*gap[:1], *gap[-1:]})


def _bounds(found: Estimate) -> tuple[float, float]:
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    return low, high
