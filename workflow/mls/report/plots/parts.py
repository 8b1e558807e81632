"""Parts of a cell (stages, turns, prefixes, adapters, servers): a table of them, and drawings along them."""

from __future__ import annotations

from dataclasses import dataclass

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
from mls.report.text.numbers import milliseconds, number

_NAMES = {"prefix_group": "prefix"}
_PLOTS = {
    "turn": ("ttft_ms", "TTFT by turn of the conversation"),
    "stage": ("latency_from_scheduled_ms", "Latency from scheduled, by stage"),
}


@dataclass(frozen=True)
class PartRow:
    """One row of the table, as texts."""

    cell: str
    part: str
    figures: list[str]


HEADINGS = (
    "requests",
    "failed",
    "arrivals/s",
    "tokens/s",
    "prompt tokens",
    "cached",
    "anew",
    "TTFT p50",
    "TTFT p95",
    "latency p50",
    "p95",
    "latency from scheduled p50",
    "p95",
    "lateness p99",
)


def part_rows(study: Study) -> list[PartRow]:
    """A row for each stage, turn, prefix, adapter or server of each cell."""
    names = study.varying or ["model"]
    adapters = [adapter.name for adapter in study.config.run.adapters]
    return [
        PartRow(label(cell, names), _part_name(kind, part, adapters), _figures(part))
        for cell in study.cells
        for kind, parts in cell.parts.items()
        for part in parts
    ]


def _part_name(kind: str, part: Part, adapters: list[str]) -> str:
    own = adapters[part.number - 1] if kind == "adapter" else part.number
    return f"{_NAMES.get(kind, kind)} {own}"


def _figures(part: Part) -> list[str]:
    def time(value: float | None) -> str:
        return "–" if value is None else milliseconds(value)

    def count(value: float | None) -> str:
        return "–" if value is None else number(value)

    return [
        str(part.requests),
        str(part.failed),
        count(part.arrivals_per_s),
        count(part.completion_tokens_per_s),
        count(part.prompt_tokens),
        count(part.cached_tokens),
        count(part.anew_tokens),
        time(part.ttft_ms.p50),
        time(part.ttft_ms.p95),
        time(part.latency_ms.p50),
        time(part.latency_ms.p95),
        time(part.latency_from_scheduled_ms.p50),
        time(part.latency_from_scheduled_ms.p95),
        time(part.lateness_ms.p99),
    ]


def part_plots(study: Study) -> list[Plot]:
    """One drawing for each kind of part in `_PLOTS` that occurs. Call it within `svg.style`."""
    plots = []
    for kind, (metric, title) in _PLOTS.items():
        cells = [cell for cell in study.cells if cell.parts.get(kind)]
        if cells:
            plots.append(_plot(study, cells[:MOST_LINES], kind, metric, title))
    return plots


def _plot(study: Study, cells: list[CellResult], kind: str, metric: str, title: str) -> Plot:
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    texts, rows, lines = [], [], []
    for i, cell in enumerate(cells):
        distributions = [(p.number, getattr(p, metric)) for p in cell.parts[kind]]
        points = [(at, d.p50, d.p95) for at, d in distributions if d.n]
        name = label(cell, study.varying)
        for percentile, dash in ((1, DASHES[0]), (2, DASHES[1])):
            of_legend = f"{name} {'p50' if percentile == 1 else 'p95'}".strip()
            artists = axes.plot(
                [point[0] for point in points],
                [point[percentile] for point in points],
                color=line(i),
                linestyle=dash,
                marker=MARKERS[i % len(MARKERS)],
                label=of_legend,
            )
            words = [
                (float(point[0]), value, f"{kind} {point[0]}: {milliseconds(value)}")
                for point in points
                if (value := point[percentile]) is not None
            ]
            lines.append(Line(of_legend, axes, artists, words))
        rows += [(name, *point) for point in points]
        texts += [f"{name} {kind} {at}: {milliseconds(p50)}" for at, p50, _ in points]
    axes.set_ylim(bottom=0)
    axes.set_xlabel(kind)
    axes.set_ylabel("ms")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    note = "Solid: median, dashed: p95, of the requests of all repeats."
    drawing = inline(figure, f"parts-{kind}", title, "; ".join(texts) + ".", lines)
    data = as_csv(("line", kind, "p50_ms", "p95_ms"), rows)
    return Plot(title, note, drawing, f"parts-{kind}", data)
