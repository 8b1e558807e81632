"""Drawings of samples: distributions as ECDFs, and requests in flight over time."""

from __future__ import annotations

from matplotlib.figure import Figure

from mls.report.plots.downloads import as_csv
from mls.report.plots.frame.plot import SIZE, Plot, legend, panels
from mls.report.plots.marks import Line
from mls.report.plots.palette import MUTED, ramp
from mls.report.plots.series import Series, label, spread
from mls.report.plots.svg import inline
from mls.report.text.numbers import NARROW, milliseconds, number

MOST_CURVES = 6
MOST_PANELS = 6
LONG_TAIL = 4
"""A tail beyond this many times the greatest p99 is cut off in the drawing, and a note says so."""


def ecdf(name: str, title: str, metric: str, series: Series, x: str, note: str = "") -> Plot | None:
    """Share of samples at or below each value, one curve for each cell; None without samples."""
    cells = spread(
        [c for c in series.cells if metric in c.curves and len(c.curves[metric].x)], MOST_CURVES
    )
    if not cells:
        return None
    order = [str(cell.cell[x]) for cell in series.cells]
    reach = max(float(cell.curves[metric].x[-1]) for cell in cells)
    p99 = max(cell.estimates[f"{metric}.p99"].value for cell in cells)
    end = p99 * 1.15 if reach > p99 * LONG_TAIL else reach * 1.03
    scale, unit = (1000.0, "s") if end >= 2000 else (1.0, "ms")
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    lines = []
    for cell in cells:
        curve = cell.curves[metric]
        of_legend = label(cell, [x]) if cell is cells[0] else str(cell.cell[x])
        artists = axes.step(
            [0.0, *curve.x / scale],
            [0.0, *curve.y],
            where="post",
            color=ramp(order.index(str(cell.cell[x]))),
            label=of_legend,
        )
        shares = [
            (float(value) / scale, float(share),
             f"{label(cell, [x])}: {number(100 * share)}{NARROW}% within {milliseconds(float(value))}")
            for value, share in zip(curve.x, curve.y, strict=True)
            if value <= end
        ]  # fmt: skip
        lines.append(Line(of_legend, axes, artists, shares))
    axes.set_xlim(0, end / scale)
    axes.set_ylim(0, 1.01)
    axes.set_xlabel(unit)
    axes.set_ylabel("share")
    if len(cells) > 1:
        legend(figure, axes)
    description = "; ".join(
        f"{label(cell, [x])}: half within {milliseconds(cell.estimates[f'{metric}.p50'].value)}, "
        f"95 % within {milliseconds(cell.estimates[f'{metric}.p95'].value)}"
        for cell in cells
    )
    if end < reach:
        note = f"{note} Cut off: the longest is {milliseconds(reach)}.".strip()
    heading = f"{title}, {series.name}" if series.name else title
    rows = [
        (label(cell, [x]), float(value), float(share))
        for cell in cells
        for value, share in zip(cell.curves[metric].x, cell.curves[metric].y, strict=True)
    ]
    data = as_csv(("cell", metric, "share"), rows)
    drawing = inline(figure, name, title, description + ".", lines)
    return Plot(heading, note, drawing, name, data)


def timeline(name: str, series: Series, x: str, open_loop: bool = False) -> Plot | None:
    """Requests in flight over time, a panel with one repeat of each cell; None without records."""
    cells = spread([cell for cell in series.cells if cell.course], MOST_PANELS)
    if not cells:
        return None
    order = [str(cell.cell[x]) for cell in series.cells]
    figure, grid = panels(len(cells), 0.85)
    texts, lines = [], []
    for axes, cell in zip(grid, cells, strict=True):
        course = cell.course
        assert course is not None
        # An open loop has no target for requests in flight: their greatest number is marked
        level = int(course.count.max() if open_loop else cell.cell["inflight"])
        color = ramp(order.index(str(cell.cell[x])))
        axes.fill_between(course.at_s, course.count, step="post", color=color, alpha=0.22, lw=0)
        steps = axes.step(course.at_s, course.count, where="post", color=color, lw=0.9)
        counts = [
            (float(at), int(count), f"{label(cell, [x])}, {at:.2f}{NARROW}s: {count} in flight")
            for at, count in zip(course.at_s, course.count, strict=True)
        ]
        lines.append(Line(label(cell, [x]), axes, steps, counts))
        axes.axhline(level, color=MUTED, lw=0.9, ls=(0, (3, 2)))
        if course.window_s:
            axes.plot(course.window_s, [0, 0], color=MUTED, lw=4, solid_capstyle="butt")
        axes.set_ylim(0, max(level, float(course.count.max())) * 1.18)
        axes.set_yticks([0, level])
        axes.set_ylabel(f"{x}\n{cell.cell[x]}", rotation=0, ha="right", va="center")
        axes.grid(axis="y", visible=False)
        window = (
            f", window from {course.window_s[0]:.2f} to {course.window_s[1]:.2f} s"
            if course.window_s
            else ", no steady window"
        )
        target = "" if open_loop else f"{level} asked, "
        texts.append(
            f"{label(cell, [x])}: {target}at most {int(course.count.max())} in flight "
            f"over {course.at_s[-1]:.2f} s{window}"
        )
    grid[-1].set_xlabel("s since the first request")
    grid[-1].set_xlim(left=0)
    title = "Requests in flight"
    note = (
        f"One repeat of each cell. Dashed: {'the most' if open_loop else 'what was asked for'}. "
        "Thick bar: the window that the rates are from."
    )
    rows = [
        (label(cell, [x]), round(float(at), 6), int(count))
        for cell in cells
        if cell.course
        for at, count in zip(cell.course.at_s, cell.course.count, strict=True)
    ]
    data = as_csv(("cell", "s", "requests in flight"), rows)
    drawing = inline(figure, name, title, "; ".join(texts) + ".", lines)
    return Plot(series.name, note, drawing, name, data)


def scatter(name: str, series: Series, x: str) -> Plot | None:
    """Latency and TTFT of each request by start, a panel with one repeat of each cell.

    Returns None without records.
    """
    cells = spread([cell for cell in series.cells if cell.dots], MOST_PANELS)
    if not cells:
        return None
    order = [str(cell.cell[x]) for cell in series.cells]
    figure, grid = panels(len(cells), 0.95)
    texts, rows, lines, is_thinned = [], [], [], False
    for axes, cell in zip(grid, cells, strict=True):
        dots = cell.dots
        assert dots is not None
        color = ramp(order.index(str(cell.cell[x])))
        drawn = axes.plot(dots.at_s, dots.latency_ms, color=color, marker="o", ms=2.4, ls="")
        axes.plot(dots.at_s, dots.ttft_ms, color=MUTED, marker="x", ms=2.6, mew=0.7, ls="")
        requests = [
            (float(at), float(latency), f"{label(cell, [x])}, {at:.2f}{NARROW}s: latency {milliseconds(float(latency))}"
             + ("" if ttft != ttft else f", TTFT {milliseconds(float(ttft))}"))
            for at, latency, ttft in zip(dots.at_s, dots.latency_ms, dots.ttft_ms, strict=True)
        ]  # fmt: skip
        lines.append(Line(label(cell, [x]), axes, drawn, requests))
        axes.set_ylim(0, float(dots.latency_ms.max()) * 1.12)
        axes.set_ylabel(f"{x}\n{cell.cell[x]}", rotation=0, ha="right", va="center")
        is_thinned = is_thinned or dots.of > len(dots.at_s)
        texts.append(
            f"{label(cell, [x])}: latencies of {dots.of} requests from "
            f"{milliseconds(float(dots.latency_ms.min()))} to {milliseconds(float(dots.latency_ms.max()))}"
        )
        rows += [
            (label(cell, [x]), round(float(at), 6), float(latency), _or_none(ttft))
            for at, latency, ttft in zip(dots.at_s, dots.latency_ms, dots.ttft_ms, strict=True)
        ]
    grid[-1].set_xlabel("s since the first request")
    title = "Requests over time"
    note = "One repeat of each cell, by start. Dots: latency, ms. Crosses: TTFT, ms." + (
        " Thinned: the least and the greatest of each stretch." if is_thinned else ""
    )
    data = as_csv(("cell", "s", "latency_ms", "ttft_ms"), rows)
    drawing = inline(figure, name, title, "; ".join(texts) + ".", lines)
    return Plot(series.name, note, drawing, name, data)


def _or_none(value: float) -> float | None:
    return None if value != value else float(value)
