"""The end of a search or of a cell's repeats in words: the outcome, and why measuring stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from mls.analysis.checks.cells.measured_together import apart
from mls.analysis.study import Study
from mls.config.decisions import Decision, line_of
from mls.core.units import duration

REASONS = {
    "width": "interval as narrow as asked",
    "unknown": "no interval of this figure",
    "most repeats": "most repeats reached",
    "budget": "budget spent",
    "found": "found",
    "not resolved": "not resolved",
    "all meet": "upper end reached",
    "none meets": "lower end misses",
    None: "not done yet",
}
_MARKS = {"meets": "✓", "misses": "✗", "unclear": "?", None: ""}


@dataclass(frozen=True)
class Stop:
    """A row of the table, as texts."""

    line: str
    reason: str
    message: str
    probes: str


def stops(study: Study, names: list[str]) -> list[Stop]:
    """A row for each line on which anything was decided. names: the axes that vary."""
    return [
        Stop(
            _line(decision, names),
            REASONS[decision.stopped],
            _message(study, decision),
            _probes(decision),
        )
        for decision in study.decisions
    ]


def search_sentences(study: Study, model: str, names: list[str]) -> list[Markup]:
    """The outcome of each search on a model, as sentences. names: the axes that vary."""
    search = study.config.search
    if search is None:
        return []
    texts = []
    for decision in study.decisions:
        if decision.line["model"] != model:
            continue
        axes = [axis for axis in names if axis in decision.line and axis != "model"]
        where = f" at {_line(decision, axes)}" if axes else ""
        comma = "" if decision.stopped == "found" else ","
        outcome = "" if decision.found is None else f"{comma} {search.axis} {decision.found:g}"
        texts.append(
            Markup("<b>The search{}: {}{}.</b> {} Tried: {}.").format(
                where,
                REASONS[decision.stopped],
                outcome,
                _message(study, decision),
                _probes(decision),
            )
        )
    return texts


def _message(study: Study, decision: Decision) -> str:
    """Why measuring stopped, and a caveat when its cells were not measured together."""
    line = [cell for cell in study.cells if line_of(study.config, cell.cell) == decision.line]
    gaps = [gap_s for _, gap_s in apart(line)]
    if not gaps:
        return decision.message
    return f"{decision.message} Not all of this was measured together: {duration(max(gaps))} lie in between."


def _line(decision: Decision, names: list[str]) -> str:
    axes = [axis for axis in names if axis in decision.line] or ["model"]
    return " · ".join(
        str(decision.line[a]) if a == "model" else f"{a} {decision.line[a]}" for a in axes
    )


def _probes(decision: Decision) -> str:
    """The values that were tried, with their repeats, such as `1 ✓ (3), 2 ✓ (3), 4 ? (12)`."""
    return ", ".join(dict.fromkeys(_probe_texts(decision)))


def _probe_texts(decision: Decision) -> Iterator[str]:
    for one in decision.seen:
        value = "" if one.value is None else f"{one.value:g} "
        mark = f"{_MARKS[one.standing]} " if one.standing else ""
        yield f"{value}{mark}({one.repeats})"
