"""Drawing of what the cache had of each turn's prompt, and of what it could have had."""

from __future__ import annotations

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

_NAME, _TITLE = "turns-cached", "Cached share of the prompt by turn"
_NOTE = (
    "Solid: tokens that the server took from its cache; dashed: tokens that had been in the "
    "conversation's context before. What lies between was processed anew."
)
_KINDS = ("cached", "in context before")


def turn_plots(study: Study) -> list[Plot]:
    """Empty where no server counts what it had cached. Call it within `svg.style`."""
    cells = [
        cell
        for cell in study.cells
        if any(part.cached_tokens is not None for part in cell.parts.get("turn", ()))
    ]
    return [_plot(study, cells[:MOST_LINES])] if cells else []


def _plot(study: Study, cells: list[CellResult]) -> Plot:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    texts, rows, lines = [], [], []
    for i, cell in enumerate(cells):
        name = label(cell, study.varying)
        for kind, dash in zip(_KINDS, DASHES, strict=False):
            points = [
                (part.number, share)
                for part in cell.parts["turn"]
                if (share := _percent(part, kind)) is not None
            ]
            if not points:
                continue
            of_legend = f"{name} {kind}".strip()
            artists = axes.plot(
                *zip(*points, strict=True),
                color=line(i),
                linestyle=dash,
                marker=MARKERS[i % len(MARKERS)],
                label=of_legend,
            )
            words = [(float(at), share, f"turn {at}: {number(share)} %") for at, share in points]
            lines.append(Line(of_legend, axes, artists, words))
            rows += [(name, kind, at, share) for at, share in points]
            texts += [f"{of_legend} turn {at}: {number(share)} %" for at, share in points]
    axes.set_ylim(0, 105)
    axes.set_xlabel("turn")
    axes.set_ylabel("% of the prompt")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    drawing = inline(figure, _NAME, _TITLE, "; ".join(texts) + ".", lines)
    data = as_csv(("line", "tokens", "turn", "percent"), rows)
    return Plot(_TITLE, _NOTE, drawing, _NAME, data)


def _percent(part: Part, kind: str) -> float | None:
    tokens = part.cached_tokens if kind == "cached" else part.context_tokens
    return None if tokens is None or not part.prompt_tokens else 100 * tokens / part.prompt_tokens
