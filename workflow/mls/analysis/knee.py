"""The knee: the least inflight that already has practically the highest throughput."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis import intervals
from mls.analysis.checks.measured_together import apart
from mls.analysis.intervals import Estimate
from mls.analysis.study import CellResult

ALIKE = 0.05
"""Figures that differ by no more than this fraction are alike for all practical purposes."""


@dataclass(frozen=True)
class Knee:
    """Of cells that differ in `inflight` only."""

    cell: CellResult
    low: int
    high: int
    """The least inflight that may be the knee, and the least that surely has the throughput."""
    measure: list[int]
    """Values of inflight, not measured yet, that would tell; empty when it is resolved."""
    at_edge: bool
    """It is the highest inflight that was measured: throughput may rise beyond it."""
    apart: bool
    """Not all of the cells were measured together."""

    @property
    def unclear(self) -> bool:
        """Whether the figures leave several values of inflight to be the knee."""
        return self.low != self.high or bool(self.measure)

    @property
    def resolved(self) -> bool:
        return not (self.unclear or self.apart)


def alike(best: Estimate | None) -> bool:
    """Whether a ratio to the best is at most 1 + ALIKE, as far as its interval tells."""
    return best is not None and max(best.value, best.high or best.value) <= 1 + ALIKE


def knee(cells: list[CellResult], rate: str) -> Knee | None:
    """The knee of the throughput `rate`; None with fewer than two values of inflight.

    Between values that were measured, throughput can't rise faster than inflight does: a place
    gets no quicker with more places beside it. So T(n) ≤ n/m · T(m) for n > m, which tells values
    in between that need no measuring from those that do.
    """
    line = sorted(
        (cell for cell in cells if rate in cell.estimates), key=lambda cell: cell.cell["inflight"]
    )
    if len({cell.cell["inflight"] for cell in line}) < 2 or len(line) < 2:
        return None
    best = max(line, key=lambda cell: cell.estimates[rate].value)
    behind = [_behind(best, cell, rate) for cell in line]
    places = [int(cell.cell["inflight"]) for cell in line]
    chosen = next(i for i, ratio in enumerate(behind) if ratio.value <= 1 + ALIKE)
    may = next(i for i, ratio in enumerate(behind) if _low(ratio) <= 1 + ALIKE)
    sure = next(i for i, ratio in enumerate(behind) if alike(ratio))
    return Knee(
        cell=line[chosen],
        low=places[may],
        high=places[sure],
        measure=_to_measure(places, behind, may, sure, chosen),
        at_edge=chosen == len(line) - 1,
        apart=bool(apart(line)),
    )


def _behind(best: CellResult, cell: CellResult, rate: str) -> Estimate:
    """How many times its throughput the best one's is."""
    found = None if cell is best else intervals.ratio(best.values(rate), cell.values(rate))
    if found is None:
        one = best.estimates[rate].value / max(cell.estimates[rate].value, 1e-300)
        return Estimate(one, one, one, len(cell.ok))
    return found


def _low(ratio: Estimate) -> float:
    return ratio.value if ratio.low is None else ratio.low


def _to_measure(
    places: list[int], behind: list[Estimate], may: int, sure: int, chosen: int
) -> list[int]:
    """Of the values between measured ones that could be the knee, the middle one on either side."""
    found = [
        n
        for i in range(max(0, may - 1), sure)
        for n in range(places[i] + 1, places[i + 1])
        # its throughput, bounded by that of its neighbour below, as a share of the best
        if n / places[i] / _low(behind[i]) >= 1 / (1 + ALIKE)
    ]
    below = [n for n in found if n < places[chosen]]
    above = [n for n in found if n > places[chosen]]
    return [side[(len(side) - 1) // 2] for side in (below, above) if side]
