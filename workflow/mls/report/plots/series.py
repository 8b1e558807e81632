"""How a sweep of any axes becomes drawings: what lies along x, what is a line, what is a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mls.analysis.study import CellResult, Study

Thing = TypeVar("Thing")

MOST_LINES = 6
MOST_FACETS = 6


@dataclass(frozen=True)
class Series:
    """One line: the cells that differ in the x axis only. `color` and `style` count from 0."""

    name: str
    cells: list[CellResult]
    color: int
    style: int


@dataclass(frozen=True)
class Facet:
    """The lines of one drawing; `title` is empty when there is one drawing for all."""

    title: str
    series: list[Series]


@dataclass(frozen=True)
class Layout:
    x: str
    facets: list[Facet]
    colors: int
    hidden: int
    """Lines that are not drawn because there are too many; the table has them."""


def label(cell: CellResult, names: list[str]) -> str:
    """`smollm2 · inflight 8 · ranks 2`, of the named axes."""
    return " · ".join(_value(name, cell.cell[name]) for name in names)


def spread(things: Sequence[Thing], most: int) -> list[Thing]:
    """At most so many of them, evenly spaced, first and last among them."""
    if len(things) <= most:
        return list(things)
    return [things[round(i * (len(things) - 1) / (most - 1))] for i in range(most)]


def layout(study: Study, x: str | None = None) -> Layout:
    """Arrange all cells along `x`: by default inflight, or the first axis that varies when it doesn't."""
    along = x or _default_x(study)
    keys = [axis for axis in study.varying if axis != along]
    groups: dict[tuple[str, ...], list[CellResult]] = {}
    for cell in study.cells:
        groups.setdefault(tuple(str(cell.cell[key]) for key in keys), []).append(cell)
    by_model = "model" in keys
    # with several models colour tells the model, and line style the rest
    hues = list(dict.fromkeys(_hue(cells[0], keys, by_model) for cells in groups.values()))
    rests = list(dict.fromkeys(_rest(cells[0], keys) for cells in groups.values()))
    lines = [
        Series(
            name=label(cells[0], keys),
            cells=sorted(cells, key=lambda cell: _order(cell.cell[along])),
            color=hues.index(_hue(cells[0], keys, by_model)),
            style=rests.index(_rest(cells[0], keys)),
        )
        for cells in groups.values()
    ]
    facets = _facets(lines, keys)
    shown = facets[:MOST_FACETS]
    drawn = [Facet(facet.title, facet.series[:MOST_LINES]) for facet in shown]
    hidden = len(lines) - sum(len(facet.series) for facet in drawn)
    return Layout(along, drawn, len(hues), hidden)


def _facets(lines: list[Series], keys: list[str]) -> list[Facet]:
    if len(lines) <= MOST_LINES:
        return [Facet("", lines)]
    by = next((key for key in keys if key != "model"), keys[0])
    found: dict[str, list[Series]] = {}
    for line in lines:
        found.setdefault(label(line.cells[0], [by]), []).append(line)
    return [Facet(title, series) for title, series in found.items()]


def _default_x(study: Study) -> str:
    if "inflight" in study.varying or not study.varying:
        return "inflight"
    numeric = [
        axis
        for axis in study.varying
        if all(isinstance(cell.cell[axis], int | float) for cell in study.cells)
    ]
    return (numeric or study.varying)[0]


def _hue(cell: CellResult, keys: list[str], by_model: bool) -> str:
    return str(cell.cell["model"]) if by_model else label(cell, keys)


def _rest(cell: CellResult, keys: list[str]) -> str:
    return label(cell, [key for key in keys if key != "model"])


def _order(value: Any) -> tuple[bool, float, str]:
    numeric = isinstance(value, int | float)
    return (not numeric, float(value) if numeric else 0.0, str(value))


def _value(axis: str, value: Any) -> str:
    return str(value) if axis == "model" else f"{axis} {value}"
