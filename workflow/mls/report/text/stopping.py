"""Where results decided what was measured: what was found, and why it stopped, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from mls.analysis.checks.measured_together import apart, duration
from mls.analysis.study import Study
from mls.config.decisions import Decision, line_of

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
    """A row of the table: texts only."""

    line: str
    reason: str
    message: str
    probes: str


def stops(study: Study, names: list[str]) -> list[Stop]:
    """A row for each line. names: axes that tell cells apart."""
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
    """What the searches on a model came to."""
    search = study.config.search
    if search is None:
        return []
    said = []
    for decision in study.decisions:
        if decision.line["model"] != model:
            continue
        told = [axis for axis in names if axis in decision.line and axis != "model"]
        where = f" at {_line(decision, told)}" if told else ""
        comma = "" if decision.stopped == "found" else ","
        found = "" if decision.found is None else f"{comma} {search.axis} {decision.found:g}"
        said.append(
            Markup("<b>The search{}: {}{}.</b> {} Tried: {}.").format(
                where,
                REASONS[decision.stopped],
                found,
                _message(study, decision),
                _probes(decision),
            )
        )
    return said


def _message(study: Study, decision: Decision) -> str:
    """Why it stopped, and whether what it compared was measured together."""
    line = [cell for cell in study.cells if line_of(study.config, cell.cell) == decision.line]
    gaps = [gap_s for _, gap_s in apart(line)]
    if not gaps:
        return decision.message
    return f"{decision.message} Not all of this was measured together: {duration(max(gaps))} lie in between."


def _line(decision: Decision, names: list[str]) -> str:
    told = [axis for axis in names if axis in decision.line] or ["model"]
    return " · ".join(
        str(decision.line[a]) if a == "model" else f"{a} {decision.line[a]}" for a in told
    )


def _probes(decision: Decision) -> str:
    """`1 ✓ (3), 2 ✓ (3), 4 ? (12)`: the values tried, in ascending order, with their repeats."""
    return ", ".join(dict.fromkeys(_tried(decision)))


def _tried(decision: Decision) -> Iterator[str]:
    for one in decision.seen:
        value = "" if one.value is None else f"{one.value:g} "
        mark = f"{_MARKS[one.standing]} " if one.standing else ""
        yield f"{value}{mark}({one.repeats})"
