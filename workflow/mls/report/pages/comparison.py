"""The comparison of two sets of results as a page, and as lines on the terminal."""

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
from mls.report.plots.curves import SIZE, Plot
from mls.report.plots.downloads import as_csv
from mls.report.plots.palette import INK, MUTED, line
from mls.report.plots.svg import inline, style
from mls.report.text.numbers import NARROW, P95, milliseconds, number

MARKS = {"worse": "✗", "can't tell": "?", "better": "✓", "same": "="}
LOOKS = {"worse": "fail", "can't tell": "unknown", "better": "pass", "same": "pass"}
MOST_DRAWN = 40
COLORS = dict(zip(("light", "dark"), palette.variables(1, 1), strict=True))


@dataclass(frozen=True)
class Compared:
    """What the templates show of a comparison."""

    base: str
    new: str
    comparison: Comparison
    differences: list[Difference]
    plot: Plot | None
    tally: dict[str, int]


def compared(base: Results, new: Results, found: Comparison, differ: list[Difference]) -> Compared:
    """Everything to show, drawn."""
    counts = Counter(cell.finding for cell in found.cells)
    tally: dict[str, int] = {finding: counts[finding] for finding in ORDER if counts[finding]}
    with style():
        plot = _forest(found)
    return Compared(base.name, new.name, found, differ, plot, tally)


def render(shown: Compared, output: Path) -> None:
    """Write the page; it loads nothing from elsewhere. Raises `UserError` when it can't."""
    page = templates().get_template("compare.html.j2")
    write(output, page.render(figures=COLORS, **as_shown(shown)))


def as_shown(shown: Compared) -> dict[str, Any]:
    """What the template of a comparison needs, beside the figures' colours."""
    return {
        "shown": shown,
        "percent": percent,
        "value": value,
        "name": name,
        "finding_marks": MARKS,
        "finding_looks": LOOKS,
    }


def lines(shown: Compared) -> list[str]:
    """The comparison as plain text, one line a cell, then what differs."""
    told = []
    for cell in shown.comparison.cells:
        parts = [f"{c.metric.title.lower()} {percent(c.ratio)} ({c.finding})" for c in cell.changes]
        checks = f" [failed checks: {', '.join(cell.distrusted)}]" if cell.distrusted else ""
        told.append(f"{cell.finding:10} {name(cell.cell)}: {'; '.join(parts)}{checks}")
    for side, only in (("base", shown.comparison.only_base), ("new", shown.comparison.only_new)):
        told += [f"only in {side}: {name(cell)}" for cell in only]
    told += [f"differs: {d.what}: {d.base or '–'} → {d.new or '–'}" for d in shown.differences]
    return [text.replace(NARROW, " ").replace("\u2060", "") for text in told]


def name(cell: dict[str, object]) -> str:
    """`smollm2 · inflight 8 · ranks 2`."""
    return " · ".join(str(v) if axis == "model" else f"{axis} {v}" for axis, v in cell.items())


def percent(ratio: Estimate) -> str:
    """`+3.1 % (−0.2 to +6.5)` of a ratio to the base."""
    change = f"{_signed(ratio.value)}{NARROW}%"
    if ratio.low is None or ratio.high is None:
        return change
    return f"{change} ({_signed(ratio.low)} to {_signed(ratio.high)})"


def value(change: Change, side: str) -> str:
    """The base's or the new figure with its unit."""
    found: Estimate = getattr(change, side)
    if change.metric.unit == "ms":
        return milliseconds(found.value)
    return f"{number(found.value)}{NARROW}{change.metric.unit}"


def _signed(ratio: float) -> str:
    text = f"{100 * (ratio - 1):+.1f}"
    return text.replace("-", "−")


def _forest(found: Comparison) -> Plot | None:
    """Change of throughput in each cell with its interval, below one another."""
    every = [cell.cell for cell in found.cells]
    varying = [a for a in (every[0] if every else ()) if len({str(c[a]) for c in every}) > 1]
    drawn = [
        (name({axis: cell.cell[axis] for axis in varying or cell.cell}), change.ratio)
        for cell in found.cells
        for change in cell.changes
        if change.metric.higher_is_better
    ][:MOST_DRAWN]
    if not drawn:
        return None
    figure = Figure(figsize=(SIZE[0], 0.9 + 0.28 * len(drawn)))
    axes = figure.subplots()
    for row, (_, ratio) in enumerate(drawn):
        low, high = (
            (ratio.low, ratio.high)
            if ratio.low is not None and ratio.high is not None
            else (ratio.value, ratio.value)
        )
        axes.plot([100 * (low - 1), 100 * (high - 1)], [row, row], color=line(0), lw=1.4)
        axes.plot([100 * (ratio.value - 1)], [row], color=line(0), marker="o", ls="")
    axes.axvline(0, color=INK, lw=0.9)
    for side in (-found.margin, found.margin):
        axes.axvline(100 * side, color=MUTED, lw=0.8, ls=(0, (3, 2)))
    axes.set_yticks(range(len(drawn)), [text for text, _ in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.set_xlabel("change of throughput, %")
    title = "Change of throughput"
    told = "; ".join(f"{text}: {percent(ratio)}" for text, ratio in drawn)
    note = f"Bars: {P95} intervals over repeats. Dashed: the margin."
    rows = [(text, ratio.value, ratio.low, ratio.high) for text, ratio in drawn]
    data = as_csv(("cell", "ratio", "ci95_low", "ci95_high"), rows)
    return Plot(title, note, inline(figure, "forest", title, told + "."), "forest", data)
