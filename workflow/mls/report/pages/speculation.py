"""The page's table of speculation: drafts, acceptance and tokens a step by cell and category."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis.cell.result import CellResult
from mls.analysis.speculation.speedup import speedups
from mls.analysis.study import Study
from mls.core.summary import Speculation
from mls.report.plots.series import label_or_load
from mls.report.text.numbers import interval, number


@dataclass(frozen=True)
class SpeculationRow:
    """The drafts of one cell, or of one category of its texts, as texts."""

    cell: str
    category: str
    figures: list[str]


HEADINGS = ("acceptance", "tokens a step", "speedup")


def speculation_table(study: Study, names: list[str]) -> list[SpeculationRow]:
    """Rows of the cells that tell of drafts; none where no cell does. names: axes that name a cell."""
    ratios = {id(one.cell): one.ratio for one in speedups(study)}
    rows = []
    for cell in study.cells:
        prefix = next((p for p in _SOURCES if f"{p}.acceptance" in cell.estimates), None)
        if prefix is None:
            continue
        name = label_or_load(cell, names)
        ratio = ratios.get(id(cell))
        speedup = f"{number(ratio.value)} ({interval(ratio)})" if ratio else "–"
        whole = [_estimate(cell, f"{prefix}.{figure}") for figure in _FIGURES]
        rows.append(SpeculationRow(name, "all", [*whole, speedup.replace(" ()", "")]))
        rows += [
            SpeculationRow(name, category, [*_category(own), "–"])
            for category, own in cell.categories.items()
        ]
    return rows


_SOURCES = ("speculation", "server.speculation")
_FIGURES = ("acceptance", "tokens_per_step")


def _estimate(cell: CellResult, metric: str) -> str:
    estimate = cell.estimates.get(metric)
    if estimate is None:
        return "–"
    span = interval(estimate)
    return f"{number(estimate.value)}{f' ({span})' if span else ''}"


def _category(own: Speculation) -> list[str]:
    return [number(own.acceptance), number(own.tokens_per_step)]
