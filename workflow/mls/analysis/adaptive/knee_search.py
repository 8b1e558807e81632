"""`search` without objectives: the least inflight that has practically the highest throughput."""

from __future__ import annotations

from mls.analysis.adaptive.search import between
from mls.analysis.adaptive.steps import Step, at, one_more, seen
from mls.analysis.knee import Knee, knee
from mls.analysis.study import CellResult, Study
from mls.config.cells import Cell, tidy
from mls.config.config import Config
from mls.config.decisions import repeats_of
from mls.config.sections.adaptive import Search


def knee_search(config: Config, search: Search, line: Cell, study: Study) -> Step:
    """Double until throughput no longer rises, then measure what could be the knee as well.

    What could be is told by the answer's own rule (`knee.knee`), so that both come to the same.
    """
    rate = study.rate.metric
    tried = [int(cell.cell["inflight"]) for cell in study.cells]
    found = knee(study.cells, rate)
    shown = [seen(cell, rate, cell.cell["inflight"]) for cell in study.cells]
    if (found is None or found.at_edge) and tried[-1] < search.high:
        higher = tidy(min(2.0 * tried[-1], search.high))
        said = f"Throughput may rise beyond inflight {tried[-1]}; {higher} is next."
        return Step(repeats_of(config, at(config, line, higher)), said, seen=shown)
    if found is None:
        return Step([], "No throughput is known, so there is no knee.", "unknown", seen=shown)
    open_ = f"The knee is at inflight {found.cell.cell['inflight']}, or between {found.low} and {found.high}"
    if runs := one_more(config, _undecided(found, study.cells)):
        return Step(runs, f"{open_}; more repeats are next.", seen=shown)
    value = _to_measure(search, tried, found)
    if value is not None:
        said = f"The knee may be at inflight {value}, which is next."
        return Step(repeats_of(config, at(config, line, value)), said, seen=shown)
    where = int(found.cell.cell["inflight"])
    if found.low != found.high:
        return Step([], f"{open_}, which is not resolved.", "not resolved", where, shown)
    if found.at_edge:
        said = f"Throughput still rises up to inflight {where}, the largest allowed."
        return Step([], said, "all meet", where, shown)
    below = max((n for n in tried if n < where), default=None)
    less = f", inflight {below} doesn't" if below else ", the least tried"
    said = f"Inflight {where} has practically all of the throughput{less}."
    return Step([], said, "found", where, shown)


def _undecided(found: Knee, cells: list[CellResult]) -> list[CellResult]:
    """Cells that may or may not be the knee, by their intervals."""
    if found.low == found.high:
        return []
    return [cell for cell in cells if found.low <= cell.cell["inflight"] <= found.high]


def _to_measure(search: Search, tried: list[int], found: Knee) -> int | None:
    """The first value that could be the knee and lies in a gap that is not narrow enough yet."""
    for value in found.measure:
        low = max(n for n in tried if n < value)
        high = min(n for n in tried if n > value)
        if between(search, low, high) is not None:
            return value
    return None
