"""Drawings of estimates: throughput and latency along an axis, and against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure

from mls.analysis.cell.result import CellResult
from mls.analysis.intervals import Estimate
from mls.analysis.study import Rate
from mls.report.plots.downloads import as_csv
from mls.report.plots.frame.axis import axis_end, bars, places_of, x_axis
from mls.report.plots.frame.plot import DASHES, MARKERS, SIZE, Plot, in_words, legend
from mls.report.plots.marks import Line
from mls.report.plots.palette import INK, MUTED, line
from mls.report.plots.series import Facet, Series, label, spread
from mls.report.plots.svg import inline
from mls.report.text.numbers import milliseconds, number

_PERCENTILE_STYLES: tuple[Any, ...] = ((0, (1.5, 1.5)), "-", (0, (5, 2)), (0, (7, 2, 1.5, 2)))


MOST_POINTS = 40
"""Points of a line in a drawing. The drawing's data have all."""
MOST_LABELS = 8
_CUT_NOTE = "Cut off: intervals reach further; the CSV has them."
_THINNED_NOTE = f"Drawn: {MOST_POINTS} points of a line; the CSV has all."


def along(
    name: str,
    title: str,
    facet: Facet,
    x: str,
    metrics: Sequence[str],
    unit: str,
    note: str = "",
    reference: Callable[[float], float] | None = None,
) -> Plot | None:
    """One line for each series and metric over the x axis, with 95 % intervals as bars.

    unit: the metrics' unit; `ms` is drawn as s when values are large. reference: a
    dashed line to compare with, from x to y. Returns None when no cell has any of the metrics.
    """
    curves = [
        (series, metric, cells)
        for series in facet.series
        for metric in metrics
        if (cells := [cell for cell in series.cells if metric in cell.estimates])
    ]
    if not curves:
        return None
    top = max(cell.estimates[metric].value for _, metric, cells in curves for cell in cells)
    scale, axis_unit = (1000.0, "s") if unit == "ms" and top >= 2000 else (1.0, unit)
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    places, points, lines = places_of(facet, x), [], []
    sample = [(series, metric, spread(cells, MOST_POINTS)) for series, metric, cells in curves]
    for series, metric, cells in sample:
        position = [places[str(cell.cell[x])] for cell in cells]
        values = [_in_unit(cell.estimates[metric], scale) for cell in cells]
        points += values
        dash = (
            _PERCENTILE_STYLES[metrics.index(metric) % len(_PERCENTILE_STYLES)]
            if len(metrics) > 1
            else DASHES[series.style % len(DASHES)]
        )
        marker = MARKERS[
            (metrics.index(metric) if len(metrics) > 1 else series.style) % len(MARKERS)
        ]
        of_legend = _legend(series, metric, facet, metrics)
        artists = _line(axes, position, values, line(series.color), dash, marker, of_legend)
        words = [f"{label(cell, [x])}: {in_words(cell.estimates[metric], unit)}" for cell in cells]
        in_place = zip(position, (point.value for point in values), words, strict=True)
        lines.append(Line(of_legend, axes, artists, [*in_place]))
    if reference:
        ends = [min(places.values()), max(places.values())]
        axes.plot(ends, [*map(reference, ends)], color=MUTED, lw=0.9, ls=(0, (3, 2)))
    x_axis(axes, x, places)
    axes.set_ylabel(axis_unit)
    end, is_cut = axis_end(points)
    axes.set_ylim(0, end)
    if len(curves) > 1:
        legend(figure, axes)
    if is_cut:
        note = f"{note} {_CUT_NOTE}".strip()
    if sample != curves:
        note = f"{note} {_THINNED_NOTE}".strip()
    if any(cell.estimates[metric].needs for _, metric, cells in curves for cell in cells):
        note = f"{note} Hollow: too few requests for this percentile.".strip()
    drawing = inline(figure, name, title, _values(sample, x, unit), lines)
    rows = [
        (series.name, cell.cell[x], metric, *_numbers(cell.estimates[metric]))
        for series, metric, cells in curves
        for cell in cells
    ]
    data = as_csv(("line", x, "metric", "value", "ci95_low", "ci95_high"), rows)
    return Plot(_title_of(title, facet), note, drawing, name, data)


def trade_off(name: str, facet: Facet, x: str, rate: Rate, latency: str) -> Plot | None:
    """Latency over throughput: a point for each cell, labelled with its value of the axis `x`.

    Returns None when no cell has both.
    """
    throughput = rate.metric
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    texts: list[str] = []
    lines: list[Line] = []
    rates: list[Estimate] = []
    latencies: list[Estimate] = []
    top = max(
        (
            c.estimates[latency].value
            for s in facet.series
            for c in s.cells
            if latency in c.estimates
        ),
        default=0.0,
    )
    scale, unit = (1000.0, "s") if top >= 2000 else (1.0, "ms")
    cells_by_series = {
        series.name: [
            c for c in series.cells if throughput in c.estimates and latency in c.estimates
        ]
        for series in facet.series
    }
    for series in facet.series:
        cells = spread(cells_by_series[series.name], MOST_POINTS)
        if not cells:
            continue
        across = [_in_unit(cell.estimates[throughput], 1.0) for cell in cells]
        up = [_in_unit(cell.estimates[latency], scale) for cell in cells]
        rates += across
        latencies += up
        at = [point.value for point in across], [point.value for point in up]
        dash, marker = DASHES[series.style % len(DASHES)], MARKERS[series.style % len(MARKERS)]
        artists = _line(axes, at[0], up, line(series.color), dash, marker, series.name)
        artists.append(
            axes.errorbar(
                *at,
                xerr=bars(across),
                fmt="none",
                ecolor=line(series.color),
                elinewidth=1.1,
                alpha=0.55,
            )
        )
        for cell, point, height in spread([*zip(cells, across, up, strict=True)], MOST_LABELS):
            artists.append(
                axes.annotate(
                    str(cell.cell[x]),
                    (point.value, height.value),
                    xytext=(-7, 6),
                    textcoords="offset points",
                    ha="right",
                    fontsize=9,
                    color=line(series.color) if len(facet.series) > 1 else INK,
                )
            )
        texts += [
            f"{label(cell, [x])}{f' ({series.name})' if series.name else ''}: "
            f"{number(point.value)} {rate.unit}, {milliseconds(cell.estimates[latency].value)}"
            for cell, point in zip(cells, across, strict=True)
        ]
        words = [
            f"{label(cell, [x])}: {in_words(cell.estimates[throughput], rate.unit)}, "
            f"{in_words(cell.estimates[latency], 'ms')}"
            for cell in cells
        ]
        lines.append(Line(series.name, axes, artists, [*zip(*at, words, strict=True)]))
    if not texts:
        return None
    (right, wide), (upper, high) = axis_end(rates), axis_end(latencies)
    axes.set_xlim(0, right)
    axes.set_ylim(0, upper)
    axes.set_xlabel(rate.unit)
    axes.set_ylabel(f"p95 latency, {unit}")
    if len(facet.series) > 1:
        legend(figure, axes)
    title = "Latency against throughput"
    note = f"Labels: {x}. Bars: 95 % intervals over repeats. Better: right and down."
    if any(len(cells) > MOST_POINTS for cells in cells_by_series.values()):
        note += f" {_THINNED_NOTE}"
    if wide or high:
        note += f" {_CUT_NOTE}"
    drawing = inline(figure, name, title, "; ".join(texts) + ".", lines)
    rows = [
        (s.name, c.cell[x], *_numbers(c.estimates[throughput]), *_numbers(c.estimates[latency]))
        for s in facet.series
        for c in cells_by_series[s.name]
    ]
    spans = [
        f"{metric}{part}"
        for metric in (throughput, latency)
        for part in ("", ".ci95_low", ".ci95_high")
    ]
    return Plot(_title_of(title, facet), note, drawing, name, as_csv(("line", x, *spans), rows))


def _numbers(estimate: Estimate) -> tuple[float, float | None, float | None]:
    return estimate.value, estimate.low, estimate.high


def _line(
    axes: Axes,
    x: list[float],
    values: list[Estimate],
    color: str,
    dash: Any,
    marker: str,
    name: str,
) -> list[Artist | Container]:
    lines = axes.plot(
        x,
        [point.value for point in values],
        color=color,
        linestyle=dash,
        marker=marker,
        markerfacecolor="none" if any(point.needs for point in values) else color,
        label=name,
    )
    spans = axes.errorbar(
        x,
        [point.value for point in values],
        yerr=bars(values),
        fmt="none",
        ecolor=color,
        elinewidth=1.1,
        capsize=2.5,
        alpha=0.55,
    )
    return [*lines, spans]


def _in_unit(estimate: Estimate, scale: float) -> Estimate:
    if estimate.low is None or estimate.high is None:
        return replace(estimate, value=estimate.value / scale)
    return replace(
        estimate,
        value=estimate.value / scale,
        low=estimate.low / scale,
        high=estimate.high / scale,
    )


def _legend(series: Series, metric: str, facet: Facet, metrics: Sequence[str]) -> str:
    percentile = metric.rpartition(".")[2]
    if len(metrics) == 1:
        return series.name
    return f"{series.name} {percentile}" if len(facet.series) > 1 else percentile


def _title_of(title: str, facet: Facet) -> str:
    return f"{title}, {facet.title}" if facet.title else title


def _values(curves: list[tuple[Series, str, list[CellResult]]], x: str, unit: str) -> str:
    """The drawing in words, for readers who can't see it."""
    parts = []
    for series, metric, cells in curves:
        texts = [
            f"{cell.cell[x]}: "
            + (
                milliseconds(cell.estimates[metric].value)
                if unit == "ms"
                else f"{number(cell.estimates[metric].value)} {unit}"
            )
            for cell in cells
        ]
        parts.append(
            f"{series.name + ' ' if series.name else ''}{metric} by {x}: {', '.join(texts)}"
        )
    return "; ".join(parts) + "."
