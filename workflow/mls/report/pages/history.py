"""The history of many result sets as a page: a drawing for each cell, and one table."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from mls.analysis.history import History, Point, Trend
from mls.core.files import write
from mls.report.pages.comparison import COLORS, name
from mls.report.pages.rows import MARKS
from mls.report.pages.templating import templates
from mls.report.plots.downloads import as_csv
from mls.report.plots.frame.plot import SIZE, Plot, in_words
from mls.report.plots.marks import Line
from mls.report.plots.palette import MUTED, line
from mls.report.plots.svg import inline, style
from mls.report.text.numbers import P95, interval, milliseconds, milliseconds_interval, number

MOST_TRENDS = 24


def render(history: History, folder: Path, output: Path) -> None:
    """Write the page, which loads nothing from elsewhere. Raises `UserError` when it can't."""
    with style():
        plots = [_plot(f"trend{i}", trend) for i, trend in enumerate(history.trends[:MOST_TRENDS])]
    page = templates().get_template("history.html.j2")
    write(
        output,
        page.render(
            history=history,
            folder=folder,
            plots_=plots,
            figures=COLORS,
            name=name,
            marks=MARKS,
            number=number,
            milliseconds=milliseconds,
            interval=interval,
            milliseconds_interval=milliseconds_interval,
        ),
    )


def _plot(identifier: str, trend: Trend) -> Plot:
    """Drawing of throughput and p95 latency over the result sets, in order of time."""
    figure = Figure(figsize=(SIZE[0], 3.6))
    above, below = figure.subplots(2, 1, sharex=True)
    rows, lines = [], []
    for axes, metric, unit in ((above, "throughput", trend.unit), (below, "latency_ms.p95", "ms")):
        places = [
            (i, p.estimates[metric]) for i, p in enumerate(trend.points) if metric in p.estimates
        ]
        for place, estimate in places:
            low = estimate.value if estimate.low is None else max(estimate.low, 0.0)
            high = estimate.value if estimate.high is None else estimate.high
            axes.plot([place, place], [low, high], color=line(0), lw=1.1, alpha=0.55)
            point = trend.points[place]
            rows.append(
                (
                    point.started_utc,
                    point.source,
                    metric,
                    estimate.value,
                    estimate.low,
                    estimate.high,
                )
            )
        artists = axes.plot(
            [i for i, _ in places], [e.value for _, e in places], color=line(0), marker="o", lw=1
        )
        in_unit = trend.unit if metric == "throughput" else "ms"
        words = [
            (float(i), e.value, f"{_date(trend.points[i])}: {in_words(e, in_unit)}")
            for i, e in places
        ]
        lines.append(Line("", axes, artists, words))
        axes.set_ylabel(unit if metric == "throughput" else f"p95 latency, {unit}")
        axes.set_ylim(bottom=0)
    dates = [_date(point) for point in trend.points]
    below.set_xticks(range(len(dates)), dates, rotation=30 if len(dates) > 3 else 0, color=MUTED)
    title = name(trend.cell)
    description = "; ".join(
        f"{point.started_utc[:16]}: {number(point.estimates['throughput'].value)} {trend.unit}"
        for point in trend.points
        if "throughput" in point.estimates
    )
    data = as_csv(("started_utc", "source", "metric", "value", "ci95_low", "ci95_high"), rows)
    note = f"Bars: {P95} intervals over repeats."
    drawing = inline(figure, identifier, title, f"{description}.", lines)
    return Plot(title, note, drawing, identifier, data)


def _date(point: Point) -> str:
    return point.started_utc[:10] or point.source
