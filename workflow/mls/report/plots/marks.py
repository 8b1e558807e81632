"""The values of a drawing, each with its place, which the page's script shows under the pointer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure

from mls.report.plots.series import spread

MOST_VALUES = 80
"""Values of one line that the script shows."""
POINTS_PER_INCH = 72
_ID = "mls-line-"
_LEGEND_ID = "mls-legend"


@dataclass(frozen=True)
class Line:
    """One line, row of bars or cloud of dots of a drawing.

    name: as in the legend. artists: what is hidden with it. points: (x, y, value as text) in the
    coordinates of the axes.
    """

    name: str
    axes: Axes
    artists: Sequence[Artist | Container]
    points: Sequence[tuple[float, float, str]]


def tag(figure: Figure, lines: Sequence[Line]) -> None:
    """Name lines and legend in the SVG that is drawn next; `as_attributes` reads these names."""
    for i, line in enumerate(lines):
        for artist in _artists(line.artists):
            artist.set_gid(f"{_ID}{i}")
    for legend in figure.legends:
        legend.set_gid(_LEGEND_ID)


def as_attributes(svg: str) -> str:
    """The SVG with `data-line` and `data-legend` in place of the names."""
    svg = re.sub(rf' id="{_ID}(\d+)"', r' data-line="\1"', svg)
    return svg.replace(f' id="{_LEGEND_ID}"', ' data-legend=""')


def values(figure: Figure, lines: Sequence[Line]) -> dict[str, Any]:
    """The values: `{legend: names, lines: [{name, points: [[x, y, text]]}]}`.

    figure: as it was drawn. x and y are in the SVG's units.
    """
    legend = [text.get_text() for each in figure.legends for text in each.get_texts()]
    return {
        "legend": legend,
        "lines": [{"name": line.name, "points": _places(figure, line)} for line in lines],
    }


def _artists(artists: Iterable[Artist | Container]) -> list[Artist]:
    singles: list[Artist] = []
    for one in artists:
        singles += one.get_children() if isinstance(one, Container) else [one]
    return singles


def _places(figure: Figure, line: Line) -> list[list[Any]]:
    scale = POINTS_PER_INCH / figure.dpi
    height = figure.get_figheight() * POINTS_PER_INCH
    points = spread(line.points, MOST_VALUES)
    if not points:
        return []
    places = line.axes.transData.transform([(x, y) for x, y, _ in points]) * scale
    return [
        [round(float(x), 1), round(float(height - y), 1), text]
        for (x, y), (_, _, text) in zip(places, points, strict=True)
    ]
