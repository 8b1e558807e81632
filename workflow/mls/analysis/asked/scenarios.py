"""Cells that are asked the same, among which there is a choice, and how figures change between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mls.analysis import intervals
from mls.analysis.cell.result import CellResult
from mls.analysis.checks.cells.measured_together import apart
from mls.analysis.intervals import Estimate
from mls.config.axes import ASKED_AXES, Cell


@dataclass(frozen=True)
class Change:
    """A metric along one axis of what is asked, all else equal."""

    axis: str
    metric: str
    cells: list[CellResult]
    """In the order of the axis; at least two."""
    ratio: Estimate
    """The metric of the last cell over that of the first, by the figures of the repeats."""
    apart: bool
    """Whether the two were not measured together: the interval leaves out what changed in between."""

    @property
    def resolved(self) -> bool | None:
        """Whether it surely changes from the first to the last. None without an interval."""
        if self.ratio.low is None or self.ratio.high is None:
            return None
        return not self.apart and not self.ratio.low <= 1 <= self.ratio.high


def asked_axes(cells: Sequence[CellResult]) -> list[str]:
    """The axes of what is asked in which the cells differ, in the order of the config."""
    axes = cells[0].cell if cells else {}
    return [
        axis
        for axis in axes
        if axis in ASKED_AXES and len({str(one.cell[axis]) for one in cells}) > 1
    ]


def scenarios(cells: Sequence[CellResult]) -> list[tuple[Cell, list[CellResult]]]:
    """(values of `asked_axes`, the cells that have them), in the order of the cells."""
    axes = asked_axes(cells)
    groups: dict[tuple[str, ...], list[CellResult]] = {}
    for one in cells:
        groups.setdefault(tuple(str(one.cell[axis]) for axis in axes), []).append(one)
    return [({axis: own[0].cell[axis] for axis in axes}, own) for own in groups.values()]


def changes(base: CellResult, cells: Sequence[CellResult], metrics: Sequence[str]) -> list[Change]:
    """How metrics change from `base` along each of `asked_axes`; unknown ones are left out."""
    each = [
        _change(axis, metric, _along(axis, base, cells))
        for axis in asked_axes(cells)
        for metric in metrics
    ]
    return [one for one in each if one]


def _along(axis: str, base: CellResult, cells: Sequence[CellResult]) -> list[CellResult]:
    """The cells that differ from `base` in this axis only, in its order if it has one."""

    def other_axes(one: CellResult) -> Cell:
        return {name: value for name, value in one.cell.items() if name != axis}

    line = [one for one in cells if other_axes(one) == other_axes(base)]
    values = [one.cell[axis] for one in line]
    if all(isinstance(value, int | float) for value in values):
        return sorted(line, key=lambda one: float(one.cell[axis]))
    return line


def _change(axis: str, metric: str, line: list[CellResult]) -> Change | None:
    known = [one for one in line if metric in one.estimates]
    if len(known) < 2:
        return None
    first, last = known[0], known[-1]
    ratio = intervals.ratio(last.values(metric), first.values(metric))
    return Change(axis, metric, known, ratio, bool(apart([first, last]))) if ratio else None
