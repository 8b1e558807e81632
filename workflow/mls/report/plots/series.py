"""Arrangement of a sweep's cells in drawings: which axis is x, which make lines, which drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mls.analysis.cell.result import CellResult
from mls.analysis.study import Study

Item = TypeVar("Item")

MOST_LINES = 6
MOST_FACETS = 6


@dataclass(frozen=True)
class Series:
    """One line: cells that differ in the x axis alone. `color` and `style` are indices from 0."""

    name: str
    cells: list[CellResult]
    color: int
    style: int


@dataclass(frozen=True)
class Facet:
    """The lines of one drawing; `title` is empty when one drawing has all lines."""

    title: str
    series: list[Series]


@dataclass(frozen=True)
class Layout:
    x: str
    facets: list[Facet]
    colors: int
    hidden: int
    """Number of lines that are not drawn, as there are too many; the table has them."""


def label(cell: CellResult, names: list[str]) -> str:
    """A cell's values of the named axes, such as `smollm2 · inflight 8 · ranks 2`."""
    return " · ".join(_value(name, cell.cell[name]) for name in names)


def label_or_load(cell: CellResult, names: list[str]) -> str:
    """`label`, and without axes `this load`: an open loop that nothing varies has no number in flight."""
    return label(cell, names) or "this load"


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of the items, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def layout(study: Study, x: str | None = None) -> Layout:
    """Arrange all cells along `x`: by default inflight or, when constant, an axis that varies."""
    along = x or _default_x(study)
    keys = [axis for axis in study.varying if axis != along]
    groups: dict[tuple[str, ...], list[CellResult]] = {}
    for cell in study.cells:
        groups.setdefault(tuple(str(cell.cell[key]) for key in keys), []).append(cell)
    by_model = "model" in keys
    # With several models, colour stands for the model and line style for the rest
    hues = list(dict.fromkeys(_hue(cells[0], keys, by_model) for cells in groups.values()))
    others = list(dict.fromkeys(_other_axes(cells[0], keys) for cells in groups.values()))
    lines = [
        Series(
            name=label(cells[0], keys),
            cells=sorted(cells, key=lambda cell: _order(cell.cell[along])),
            color=hues.index(_hue(cells[0], keys, by_model)),
            style=others.index(_other_axes(cells[0], keys)),
        )
        for cells in groups.values()
    ]
    facets = _facets(lines, keys)
    selection = facets[:MOST_FACETS]
    drawings = [Facet(facet.title, facet.series[:MOST_LINES]) for facet in selection]
    hidden = len(lines) - sum(len(facet.series) for facet in drawings)
    return Layout(along, drawings, len(hues), hidden)


def _facets(lines: list[Series], keys: list[str]) -> list[Facet]:
    if len(lines) <= MOST_LINES:
        return [Facet("", lines)]
    by = next((key for key in keys if key != "model"), keys[0])
    groups: dict[str, list[Series]] = {}
    for line in lines:
        groups.setdefault(label(line.cells[0], [by]), []).append(line)
    return [Facet(title, series) for title, series in groups.items()]


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


def _other_axes(cell: CellResult, keys: list[str]) -> str:
    return label(cell, [key for key in keys if key != "model"])


def _order(value: Any) -> tuple[bool, float, str]:
    numeric = isinstance(value, int | float)
    return (not numeric, float(value) if numeric else 0.0, str(value))


def _value(axis: str, value: Any) -> str:
    return str(value) if axis == "model" else f"{axis} {value}"
