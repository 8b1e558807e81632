"""`search` without objectives: the least inflight with practically the highest throughput."""

from __future__ import annotations

from mls.analysis.adaptive.search import between
from mls.analysis.adaptive.steps import Step, at, observation, one_more
from mls.analysis.cell.result import CellResult
from mls.analysis.knee import Knee, knee
from mls.analysis.study import Study
from mls.config.axes import Cell, tidy
from mls.config.config import Config
from mls.config.decisions import repeats_of
from mls.config.sections.adaptive import Search


def knee_search(config: Config, search: Search, line: Cell, study: Study) -> Step:
    """Double inflight until throughput no longer rises, then measure further possible knees.

    `knee.knee` names these values. The answer uses the same function, so both agree.
    """
    rate = study.rate.metric
    values = [int(cell.cell["inflight"]) for cell in study.cells]
    candidate = knee(study.cells, rate)
    figures = [observation(cell, rate, cell.cell["inflight"]) for cell in study.cells]
    if (candidate is None or candidate.at_edge) and values[-1] < search.high:
        higher = tidy(min(2.0 * values[-1], search.high))
        message = f"Throughput may rise beyond inflight {values[-1]}; {higher} is next."
        return Step(repeats_of(config, at(config, line, higher)), message, figures=figures)
    if candidate is None:
        return Step([], "No throughput is known, so there is no knee.", "unknown", figures=figures)
    range_text = (
        f"The knee is at inflight {candidate.cell.cell['inflight']}, "
        f"or between {candidate.low} and {candidate.high}"
    )
    if runs := one_more(config, _possible_knees(candidate, study.cells)):
        return Step(runs, f"{range_text}; more repeats are next.", figures=figures)
    value = _to_measure(search, values, candidate)
    if value is not None:
        message = f"The knee may be at inflight {value}, which is next."
        return Step(repeats_of(config, at(config, line, value)), message, figures=figures)
    inflight = int(candidate.cell.cell["inflight"])
    if candidate.low != candidate.high:
        return Step([], f"{range_text}, which is not resolved.", "not resolved", inflight, figures)
    if candidate.at_edge:
        message = f"Throughput still rises up to inflight {inflight}, the largest allowed."
        return Step([], message, "all meet", inflight, figures)
    below = max((n for n in values if n < inflight), default=None)
    suffix = f", inflight {below} doesn't" if below else ", the least tried"
    message = f"Inflight {inflight} has practically all of the throughput{suffix}."
    return Step([], message, "found", inflight, figures)


def _possible_knees(candidate: Knee, cells: list[CellResult]) -> list[CellResult]:
    """Cells whose intervals leave open whether they are the knee."""
    if candidate.low == candidate.high:
        return []
    return [cell for cell in cells if candidate.low <= cell.cell["inflight"] <= candidate.high]


def _to_measure(search: Search, values: list[int], candidate: Knee) -> int | None:
    """The first possible knee in a gap that is still too wide; None when there is none."""
    for value in candidate.measure:
        low = max(n for n in values if n < value)
        high = min(n for n in values if n > value)
        if between(search, low, high) is not None:
            return value
    return None
