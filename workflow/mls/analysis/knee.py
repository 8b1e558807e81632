"""The knee: the least inflight that already has practically the highest throughput."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis import intervals
from mls.analysis.cell.result import CellResult
from mls.analysis.checks.cells.measured_together import apart
from mls.analysis.intervals import Estimate

ALIKE = 0.05
"""Figures that differ by no more than this fraction are alike for all practical purposes."""


@dataclass(frozen=True)
class Knee:
    """The knee among cells that differ in `inflight` only."""

    cell: CellResult
    low: int
    high: int
    """The least inflight that may be the knee, and the least that surely has the throughput."""
    measure: list[int]
    """Values of inflight to measure that would resolve it; empty when it is resolved."""
    at_edge: bool
    """It has the highest inflight of all cells: throughput may rise beyond it."""
    apart: bool
    """Not all of the cells were measured together."""

    @property
    def unclear(self) -> bool:
        """Whether several values of inflight may be the knee."""
        return self.low != self.high or bool(self.measure)

    @property
    def resolved(self) -> bool:
        return not (self.unclear or self.apart)


def alike(best: Estimate | None) -> bool:
    """Whether the ratio of the best to a figure is at most 1 + ALIKE over its whole interval."""
    return best is not None and max(best.value, best.high or best.value) <= 1 + ALIKE


def knee(cells: list[CellResult], rate: str) -> Knee | None:
    """The knee of the throughput `rate`; None with fewer than two values of inflight.

    Throughput can't rise faster than inflight does: a place gets no quicker with more places beside
    it. So T(n) ≤ n/m · T(m) for n > m. This bound excludes some values between the measured ones
    from being the knee.
    """
    line = sorted(
        (cell for cell in cells if rate in cell.estimates), key=lambda cell: cell.cell["inflight"]
    )
    if len({cell.cell["inflight"] for cell in line}) < 2 or len(line) < 2:
        return None
    best = max(line, key=lambda cell: cell.estimates[rate].value)
    behind = [_behind(best, cell, rate) for cell in line]
    places = [int(cell.cell["inflight"]) for cell in line]
    knee_at = next(i for i, ratio in enumerate(behind) if ratio.value <= 1 + ALIKE)
    first_possible = next(i for i, ratio in enumerate(behind) if _low(ratio) <= 1 + ALIKE)
    first_certain = next(i for i, ratio in enumerate(behind) if alike(ratio))
    return Knee(
        cell=line[knee_at],
        low=places[first_possible],
        high=places[first_certain],
        measure=_to_measure(places, behind, first_possible, first_certain, knee_at),
        at_edge=knee_at == len(line) - 1,
        apart=bool(apart(line)),
    )


def _behind(best: CellResult, cell: CellResult, rate: str) -> Estimate:
    """The throughput of the best cell over that of a cell."""
    factor = None if cell is best else intervals.ratio(best.values(rate), cell.values(rate))
    if factor is None:
        one = best.estimates[rate].value / max(cell.estimates[rate].value, 1e-300)
        return Estimate(one, one, one, len(cell.ok))
    return factor


def _low(ratio: Estimate) -> float:
    return ratio.value if ratio.low is None else ratio.low


def _to_measure(
    places: list[int], behind: list[Estimate], first_possible: int, first_certain: int, knee_at: int
) -> list[int]:
    """Values between the measured ones that may be the knee: the middle one on either side."""
    values = [
        n
        for i in range(max(0, first_possible - 1), first_certain)
        for n in range(places[i] + 1, places[i + 1])
        # its throughput, bounded by that of its neighbour below, as a share of the best
        if n / places[i] / _low(behind[i]) >= 1 / (1 + ALIKE)
    ]
    below = [n for n in values if n < places[knee_at]]
    above = [n for n in values if n > places[knee_at]]
    return [side[(len(side) - 1) // 2] for side in (below, above) if side]
