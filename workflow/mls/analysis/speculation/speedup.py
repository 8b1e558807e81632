"""Speedup: throughput with speculation over that of the same cell without."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from mls.analysis import intervals
from mls.analysis.canaries.references import as_key
from mls.analysis.cell.result import CellResult
from mls.analysis.checks.cells.measured_together import apart
from mls.analysis.intervals import Estimate
from mls.analysis.study import Study
from mls.config.sections.server import NO_SPECULATION, SPECULATION_KEYS

SPEEDUP = "speculation.speedup"
"""The speedup's name among a cell's figures."""


@dataclass(frozen=True)
class Speedup:
    """The speedup of one cell, by the figures of the repeats on both sides."""

    cell: CellResult
    ratio: Estimate
    trusted: bool
    """Whether no check failed on either side."""
    apart: bool
    """Whether the sides were not measured together: then the interval leaves out what changed."""

    @property
    def finding(self) -> str:
        """`pays` or `costs` where the interval excludes 1, else `unclear`."""
        if self.apart or self.ratio.low is None or self.ratio.high is None:
            return "unclear"
        if self.ratio.low > 1:
            return "pays"
        return "costs" if self.ratio.high < 1 else "unclear"


def speedups(study: Study) -> list[Speedup]:
    """The speedup of each speculating cell that has a counterpart without, in the study's order.

    Counterparts are the cells without speculation whose other axes are the same: limits of a draft
    do nothing there, so several are one server, and their repeats are pooled. Those on which a check
    failed don't count, unless there are no others. In an open loop throughput is what arrives, so
    there is none.
    """
    if study.config.load.open:
        return []
    without: defaultdict[str, list[CellResult]] = defaultdict(list)
    for cell in study.cells:
        if cell.cell.get("speculation") == NO_SPECULATION:
            without[_other_axes(cell)].append(cell)
    ratios = [
        _speedup(cell, without[_other_axes(cell)], study.rate.metric)
        for cell in study.cells
        if cell.cell.get("speculation", NO_SPECULATION) != NO_SPECULATION
    ]
    return [one for one in ratios if one]


def setting(cell: CellResult) -> dict[str, Any]:
    """The axes of speculation and their values in a cell."""
    return {axis: cell.cell[axis] for axis in SPECULATION_KEYS if axis in cell.cell}


def _speedup(cell: CellResult, without: list[CellResult], metric: str) -> Speedup | None:
    trusted = [one for one in without if not one.checks("fail")]
    base = trusted or without
    ratio = intervals.ratio(cell.values(metric), [v for one in base for v in one.values(metric)])
    if ratio is None:
        return None
    return Speedup(
        cell,
        ratio,
        trusted=bool(trusted) and not cell.checks("fail"),
        apart=bool(apart([cell, *base])),
    )


def _other_axes(cell: CellResult) -> str:
    return as_key({axis: v for axis, v in cell.cell.items() if axis not in SPECULATION_KEYS})
