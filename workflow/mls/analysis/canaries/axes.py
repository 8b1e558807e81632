"""Do settings of the server change what it says? Of the cells of a sweep that differ in one axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mls.analysis.canaries.change import OF_THE_LOAD, CanaryChange, canary_change
from mls.analysis.canaries.references import as_key
from mls.analysis.cell.result import CellResult
from mls.config.sections.server import SPECULATION_KEYS


@dataclass(frozen=True)
class AxisChange:
    """The change of the greedy replies alone from one value of an axis to another.

    base: the first of its values in the sweep.
    """

    axis: str
    base: Any
    value: Any
    change: CanaryChange


def axis_changes(cells: Sequence[CellResult], varying: Sequence[str]) -> list[AxisChange]:
    """The changes along each axis of the server; of those axes that have canaries in common.

    varying: axes with several values, in their order. Cells that are held against each other have
    all other axes in common.
    """
    by_key = {as_key(cell.cell): cell for cell in cells}
    changes = []
    for axis in varying:
        if axis == "model" or axis in OF_THE_LOAD.difference(SPECULATION_KEYS):
            continue
        base, *others = dict.fromkeys(cell.cell[axis] for cell in cells)
        for value in others:
            change = canary_change(_pairs(by_key, axis, base, value))
            if change:
                changes.append(AxisChange(axis, base, value, change))
    return changes


def _pairs(
    by_key: Mapping[str, CellResult], axis: str, base: Any, value: Any
) -> Iterator[tuple[dict[str, Any], CellResult, CellResult]]:
    """What the two cells of each pair have in common, the one with the base, the one with the value."""
    for one in by_key.values():
        if one.cell[axis] == base:
            other = by_key.get(as_key(one.cell | {axis: value}))
            if other:
                yield {key: held for key, held in one.cell.items() if key != axis}, one, other
