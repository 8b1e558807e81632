"""A drawing with its words, its size, its legend and its panels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mls.analysis.intervals import Estimate
from mls.report.plots.downloads import csv_link, svg_link
from mls.report.plots.palette import MUTED
from mls.report.plots.svg import Drawing
from mls.report.text.numbers import NARROW, interval, milliseconds, milliseconds_interval, number

SIZE = (4.9, 3.3)
"""Inches; narrow, so that the text can still be read on a phone."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))
MARKERS = ("o", "s", "D", "^", "v", "P")


@dataclass(frozen=True)
class Plot:
    """A drawing with its title and a note on how to read it.

    name: unique in the page. data: the drawn figures as CSV.
    """

    title: str
    note: str
    drawing: Drawing
    name: str
    data: str

    @property
    def svg(self) -> Markup:
        return self.drawing.svg

    def csv_link(self) -> Markup:
        return csv_link(self.data)

    def svg_link(self, light: str) -> Markup:
        """light: the colours' CSS declarations for the light scheme."""
        return svg_link(str(self.svg), light)


def in_words(estimate: Estimate, unit: str) -> str:
    """A figure with its unit and its interval, as the page says it."""
    if unit == "ms":
        value, span = milliseconds(estimate.value), milliseconds_interval(estimate)
    else:
        value, span = f"{number(estimate.value)}{NARROW}{unit}", interval(estimate)
    return f"{'≈ ' if estimate.needs else ''}{value}{f' ({span})' if span else ''}"


def legend(figure: Figure, axes: Axes, columns: int | None = None) -> None:
    """Add a legend above the drawing, where it covers nothing.

    columns: their number; None for as many as fit beside long handles.
    """
    handles, labels = axes.get_legend_handles_labels()
    longest, together = max(map(len, labels)), sum(len(text) + 5 for text in labels)
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns or (len(labels) if together <= 62 else max(1, 56 // (longest + 6))),
        handlelength=1.2 if columns else 2.4,
        columnspacing=1.4,
        borderaxespad=0.1,
    )


def panels(rows: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels below one another that share the x axis."""
    figure = Figure(figsize=(SIZE[0], rows * height + 0.5))
    grid = figure.subplots(rows, 1, sharex=True, squeeze=False)
    for axes in grid[:, 0]:
        axes.tick_params(colors=MUTED)
    return figure, list(grid[:, 0])
