"""The comparison of two sets of results, as a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mls.analysis.comparison import ORDER, Change, Comparison
from mls.analysis.differences import Difference
from mls.analysis.intervals import Estimate
from mls.analysis.result_sets import Results
from mls.core.files import write
from mls.report.pages.templating import templates
from mls.report.plots import palette
from mls.report.plots.downloads import as_csv
from mls.report.plots.frame.plot import SIZE, Plot
from mls.report.plots.marks import Line
from mls.report.plots.palette import INK, MUTED, line
from mls.report.plots.svg import inline, style
from mls.report.text.canaries import change_sentence
from mls.report.text.numbers import NARROW, P95, milliseconds, number

MARKS = {"worse": "✗", "can't tell": "?", "better": "✓", "same": "="}
LOOKS = {"worse": "fail", "can't tell": "unknown", "better": "pass", "same": "pass"}
MOST_BARS = 40
COLORS = dict(zip(("light", "dark"), palette.variables(1, 1), strict=True))


@dataclass(frozen=True)
class ComparisonView:
    """A comparison as the templates show it. `tally`: finding → number of cells.

    replies: a sentence on the canaries' replies alone; empty where both sides have none in common.
    """

    base: str
    new: str
    comparison: Comparison
    differences: list[Difference]
    plot: Plot | None
    tally: dict[str, int]
    replies: str


def comparison_view(
    base: Results, new: Results, comparison: Comparison, differences: list[Difference]
) -> ComparisonView:
    """The view of a comparison, with its drawing."""
    counts = Counter(cell.finding for cell in comparison.cells)
    tally: dict[str, int] = {finding: counts[finding] for finding in ORDER if counts[finding]}
    replies = change_sentence(comparison.canaries) if comparison.canaries else ""
    with style():
        plot = _forest(comparison)
    return ComparisonView(base.name, new.name, comparison, differences, plot, tally, replies)


def render(view: ComparisonView, output: Path) -> None:
    """Write the page, which loads nothing from elsewhere. Raises `UserError` when it can't."""
    page = templates().get_template("compare.html.j2")
    write(output, page.render(figures=COLORS, **template_values(view)))


def template_values(view: ComparisonView) -> dict[str, Any]:
    """The values of a comparison's template, without the figures' colours."""
    return {
        "view": view,
        "percent": percent,
        "value": value,
        "name": name,
        "finding_marks": MARKS,
        "finding_looks": LOOKS,
    }


def name(cell: dict[str, object]) -> str:
    """`smollm2 · inflight 8 · ranks 2`."""
    return " · ".join(str(v) if axis == "model" else f"{axis} {v}" for axis, v in cell.items())


def percent(ratio: Estimate) -> str:
    """A ratio to the base as a change, `+3.1 % (−0.2 to +6.5)`."""
    change = f"{_change_in_percent(ratio.value)}{NARROW}%"
    if ratio.low is None or ratio.high is None:
        return change
    return f"{change} ({_change_in_percent(ratio.low)} to {_change_in_percent(ratio.high)})"


def value(change: Change, side: str) -> str:
    """The base's or the new figure with its unit."""
    estimate: Estimate = getattr(change, side)
    if change.metric.unit == "ms":
        return milliseconds(estimate.value)
    return f"{number(estimate.value)}{NARROW}{change.metric.unit}"


def _change_in_percent(ratio: float) -> str:
    text = f"{100 * (ratio - 1):+.1f}"
    return text.replace("-", "−")


def _forest(comparison: Comparison) -> Plot | None:
    """Drawing of the change of throughput in each cell with its interval; None without any."""
    cells = [cell.cell for cell in comparison.cells]
    axis_names = [a for a in (cells[0] if cells else ()) if len({str(c[a]) for c in cells}) > 1]
    bars = [
        (name({axis: cell.cell[axis] for axis in axis_names or cell.cell}), change.ratio)
        for cell in comparison.cells
        for change in cell.changes
        if change.metric.higher_is_better
    ][:MOST_BARS]
    if not bars:
        return None
    figure = Figure(figsize=(SIZE[0], 0.9 + 0.28 * len(bars)))
    axes = figure.subplots()
    changes = []
    for row, (text, ratio) in enumerate(bars):
        low, high = (
            (ratio.low, ratio.high)
            if ratio.low is not None and ratio.high is not None
            else (ratio.value, ratio.value)
        )
        axes.plot([100 * (low - 1), 100 * (high - 1)], [row, row], color=line(0), lw=1.4)
        artists = axes.plot([100 * (ratio.value - 1)], [row], color=line(0), marker="o", ls="")
        point = 100 * (ratio.value - 1), row, f"{text}: {percent(ratio)}"
        changes.append(Line("", axes, artists, [point]))
    axes.axvline(0, color=INK, lw=0.9)
    for side in (-comparison.margin, comparison.margin):
        axes.axvline(100 * side, color=MUTED, lw=0.8, ls=(0, (3, 2)))
    axes.set_yticks(range(len(bars)), [text for text, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlabel("change of throughput, %")
    title = "Change of throughput"
    description = "; ".join(f"{text}: {percent(ratio)}" for text, ratio in bars)
    note = f"Bars: {P95} intervals over repeats. Dashed: the margin."
    rows = [(text, ratio.value, ratio.low, ratio.high) for text, ratio in bars]
    data = as_csv(("cell", "ratio", "ci95_low", "ci95_high"), rows)
    drawing = inline(figure, "forest", title, f"{description}.", changes)
    return Plot(title, note, drawing, "forest", data)
