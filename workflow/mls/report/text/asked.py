"""What of the answer is not of a choice: how figures change with what is asked."""

from __future__ import annotations

from markupsafe import Markup

from mls.analysis.answer import LATENCY, ModelAnswer, Scenario
from mls.analysis.asked.scenarios import Change
from mls.analysis.cell.result import CellResult
from mls.analysis.study import Rate
from mls.report.plots.series import label, spread
from mls.report.text.numbers import P95, interval, milliseconds, number

_MOST = 6
"""Values that a sentence has at most."""


def asked_sentences(answer: ModelAnswer, rate: Rate, names: list[str]) -> list[Markup]:
    """How figures change along the axes of what is asked, then the choice in the other scenarios.

    names: the axes that name a cell within its scenario.
    """
    choices = [one for one in answer.scenarios if one.throughput.compared]
    return [
        *(_change(change, rate) for change in answer.changes),
        *(_choice(one, rate, names) for one in spread(choices, _MOST)),
        *_objectives(answer),
    ]


def _change(change: Change, rate: Rate) -> Markup:
    what, unit = _named(change.metric, rate)
    ends = label(change.cells[0], [change.axis]), change.cells[-1].cell[change.axis]
    values = ", ".join(_at(one, change, unit) for one in spread(change.cells, _MOST))
    span = interval(change.ratio)
    if change.resolved is False and not change.apart:
        return Markup(
            "From {} to {}, {} is {}. <b>Not resolved:</b> the {} interval of the factor between the two, "
            "{}, holds 1; more repeats would narrow it."
        ).format(*ends, what, values, P95, span)
    return Markup("<b>From {} to {}, {} changes by a factor of {}</b>{}: {}.{}").format(
        *ends,
        what,
        number(change.ratio.value),
        f" ({P95} interval {span})" if span else "",
        values,
        Markup(" <b>Not resolved</b>, as they were not measured together.") if change.apart else "",
    )


def _named(metric: str, rate: Rate) -> tuple[str, str]:
    """A metric in words, and its unit."""
    if metric == LATENCY:
        return "p95 latency", ""
    return ("throughput", rate.unit) if metric == rate.metric else ("goodput", "good requests/s")


def _at(one: CellResult, change: Change, unit: str) -> str:
    value = one.estimates[change.metric].value
    text = f"{number(value)} {unit}" if unit else milliseconds(value)
    return f"{text} at {one.cell[change.axis]}"


def _choice(scenario: Scenario, rate: Rate, names: list[str]) -> Markup:
    fast, prompt = scenario.throughput, scenario.latency
    return Markup(
        "At {}, throughput {} highest at {} ({} {}), p95 latency {} lowest at {} ({}){}."
    ).format(
        label(fast.cell, [*scenario.asked]),
        "was" if fast.resolved is False else "is",
        label(fast.cell, names),
        number(fast.value.value),
        rate.unit,
        "was" if prompt.resolved is False else "is",
        label(prompt.cell, names),
        milliseconds(prompt.value.value),
        _under_slo(scenario, names),
    )


def _under_slo(scenario: Scenario, names: list[str]) -> str:
    slo = scenario.under_slo
    if slo is None:
        return ""
    if slo.cell is None:
        return "; no cell meets the objectives"
    doubt = "" if slo.resolved else " (not resolved)"
    return f"; under the objectives {label(slo.cell, names)} serves the most{doubt}"


def _objectives(answer: ModelAnswer) -> list[Markup]:
    """Where the objectives are met, of scenarios of one cell each."""
    first = [(answer.throughput, answer.under_slo)] if answer.asked else []
    each = [*first, *((one.throughput, one.under_slo) for one in answer.scenarios)]
    words: dict[str, list[str]] = {"met": [], "missed": [], "not surely met or missed": []}
    for only, slo in each:
        if only and slo and not only.compared:
            what = "not surely met or missed" if slo.unclear else "met" if slo.cell else "missed"
            words[what].append(label(only.cell, [*answer.asked]))
    parts = [f"{what} at {', '.join(at)}" for what, at in words.items() if at]
    return [Markup("The objectives are {}.").format("; ".join(parts))] if parts else []
