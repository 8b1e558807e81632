"""Drawings along the turns of conversations: what the cache had, and what was processed anew."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mls.analysis.cell.result import CellResult
from mls.analysis.repeat.breakdown import Part
from mls.analysis.study import Study
from mls.report.plots.downloads import as_csv
from mls.report.plots.frame.plot import DASHES, MARKERS, SIZE, Plot, legend
from mls.report.plots.marks import Line
from mls.report.plots.palette import line
from mls.report.plots.series import MOST_LINES, label
from mls.report.plots.svg import inline
from mls.report.text.numbers import number

_Value = Callable[[Part], float | None]


def turn_plots(study: Study) -> list[Plot]:
    """Each without lines is left out. Call it within `svg.style`."""
    plots = [
        _plot(
            study,
            "turns-cached",
            "Cached share of the prompt by turn",
            "%",
            "",
            _cached_percent,
        ),
        _plot(
            study,
            "turns-anew",
            "Tokens processed anew by turn",
            "tokens",
            "Of those that had been in the conversation's context before. A cache that keeps all leaves "
            "a reply's last token.",
            lambda part: part.anew_tokens,
        ),
    ]
    return [plot for plot in plots if plot]


def _cached_percent(part: Part) -> float | None:
    if part.cached_tokens is None or not part.prompt_tokens:
        return None
    return 100 * part.cached_tokens / part.prompt_tokens


def _plot(study: Study, name: str, title: str, unit: str, note: str, value: _Value) -> Plot | None:
    """A line for each cell that has values."""
    points = [(cell, own) for cell in study.cells if (own := _points(cell, value))][:MOST_LINES]
    if not points:
        return None
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    texts, rows, lines = [], [], []
    for i, (cell, own) in enumerate(points):
        of_legend = label(cell, study.varying) or "conversations"
        artists = axes.plot(
            *zip(*own, strict=True),
            color=line(i),
            linestyle=DASHES[i % len(DASHES)],
            marker=MARKERS[i % len(MARKERS)],
            label=of_legend,
        )
        words = [(float(at), y, f"turn {at}: {number(y)} {unit}") for at, y in own]
        lines.append(Line(of_legend, axes, artists, words))
        rows += [(of_legend, at, y) for at, y in own]
        texts += [f"{of_legend} turn {at}: {number(y)} {unit}" for at, y in own]
    axes.set_ylim(bottom=0)
    axes.set_xlabel("turn")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    drawing = inline(figure, name, title, "; ".join(texts) + ".", lines)
    data = as_csv(("line", "turn", unit.replace("%", "percent")), rows)
    return Plot(title, note, drawing, name, data)


def _points(cell: CellResult, value: _Value) -> list[tuple[int, float]]:
    """(turn, value) of each turn that has one."""
    pairs = ((part.number, value(part)) for part in cell.parts.get("turn", ()))
    return [(turn, y) for turn, y in pairs if y is not None]
