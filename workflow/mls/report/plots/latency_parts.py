"""Drawing of where the time of a request goes: mean latency as a bar of its parts."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from mls.analysis.repeat.latency_parts import LATENCY_PARTS, OUTSIDE, REST, mean_parts
from mls.report.plots.distributions import MOST_PANELS
from mls.report.plots.downloads import as_csv
from mls.report.plots.frame.plot import SIZE, Plot, legend
from mls.report.plots.marks import Line
from mls.report.plots.palette import line
from mls.report.plots.series import Series, label, spread
from mls.report.plots.svg import inline
from mls.report.text.numbers import milliseconds

_COLOR_OF = {name: i for i, name in enumerate(part for part in LATENCY_PARTS if part != REST)}
_COLOR_OF[REST] = _COLOR_OF[OUTSIDE]  # a cell has one of the two

COLORS = len({*_COLOR_OF.values()})
"""Line colours that the drawing needs."""

_BAR_IN, _FRAME_IN, _LEGEND_ROW_IN = 0.34, 0.65, 0.2
_LEGEND_COLUMNS = 2
_EXCESS = 1.001
"""Bars that are longer than this many times the latency get a note."""


def latency_bars(name: str, series: Series, x: str) -> Plot | None:
    """A bar for each cell whose server tells its own times; None without any."""
    parts_by_cell = [
        (cell, parts)
        for cell in series.cells
        if (parts := mean_parts(repeat.result.summary for repeat in cell.ok if repeat.result))
    ]
    if not parts_by_cell:
        return None
    sample = spread(parts_by_cell, MOST_PANELS)
    lengths = [sum(max(ms, 0.0) for ms in parts.values()) for _, parts in sample]
    scale, unit = (1000.0, "s") if max(lengths) >= 2000 else (1.0, "ms")
    names = [part for part in LATENCY_PARTS if any(part in parts for _, parts in sample)]
    legend_in = _LEGEND_ROW_IN * math.ceil(len(names) / _LEGEND_COLUMNS)
    figure = Figure(figsize=(SIZE[0], _FRAME_IN + legend_in + _BAR_IN * len(sample)))
    axes = figure.subplots()
    ends = [0.0] * len(sample)
    lines = []
    for part in names:
        widths = [max(parts.get(part, 0.0), 0.0) / scale for _, parts in sample]
        color = line(_COLOR_OF[part])
        bars = axes.barh(range(len(sample)), widths, 0.7, ends, color=color, lw=0, label=part)
        middles = [
            (end + width / 2, row, f"{label(cell, [x])}: {part} {milliseconds(parts[part])}")
            for row, ((cell, parts), end, width) in enumerate(
                zip(sample, ends, widths, strict=True)
            )
            if part in parts
        ]
        lines.append(Line(part, axes, [bars], middles))
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    axes.set_yticks(range(len(sample)), [str(cell.cell[x]) for cell, _ in sample])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, max(ends) * 1.03)
    axes.set_xlabel(unit)
    axes.set_ylabel(x)
    legend(figure, axes, _LEGEND_COLUMNS)
    note = "A bar is as long as the mean latency."
    totals = [sum(parts.values()) for _, parts in sample]
    if any(length > total * _EXCESS for length, total in zip(lengths, totals, strict=True)):
        note = "The server's own times exceed the latency that the client saw; see the checks."
    description = "; ".join(
        f"{label(cell, [x])}: {milliseconds(total)}, of which "
        + ", ".join(f"{part} {milliseconds(ms)}" for part, ms in parts.items())
        for (cell, parts), total in zip(sample, totals, strict=True)
    )
    drawing = inline(figure, name, "Where the time goes", f"{description}.", lines)
    rows = [
        (label(cell, [x]), part, ms) for cell, parts in parts_by_cell for part, ms in parts.items()
    ]
    return Plot(series.name, note, drawing, name, as_csv(("cell", "part", "mean_ms"), rows))
