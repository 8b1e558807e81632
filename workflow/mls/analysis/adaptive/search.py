"""`search`: the largest value that meets the objectives, by doubling and then bisection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mls.analysis.adaptive.steps import Step, at, half_width, observation, one_more
from mls.analysis.cell.result import CellResult
from mls.analysis.objectives import Objective, objectives, standing, within_limits
from mls.analysis.study import Study
from mls.config.axes import Cell, tidy
from mls.config.config import Config
from mls.config.decisions import Observation, Reason, Standing, repeats_of
from mls.config.sections.adaptive import Search

BEYOND = frozenset({"errors", "server_kept_up"})
"""Checks that fail when the load was more than the server can take."""


def next_value(search: Search, meets: Mapping[float, bool]) -> int | float | None:
    """The value to try next; None when the search is over.

    meets: value → whether it meets the objectives. Values double until one misses or `high` meets.
    Then the gap is halved until its ends differ by at most `within`, or are neighbours (inflight).
    So no value is more than twice the answer: a run far beyond it may take very long.
    """
    if not meets:
        return tidy(search.low)
    within, beyond = bracket(meets)
    if within is None:
        return None
    if beyond is None:
        return tidy(min(2 * within, search.high)) if within < tidy(search.high) else None
    return between(search, within, beyond)


def bracket(meets: Mapping[float, bool]) -> tuple[float | None, float | None]:
    """(largest value that meets and lies below all that miss, least value that misses).

    Each is None when there is no such value.
    """
    beyond = min((value for value, good in meets.items() if not good), default=None)
    within = [v for v, good in meets.items() if good and (beyond is None or v < beyond)]
    return max(within, default=None), beyond


def between(search: Search, low: float, high: float) -> int | float | None:
    """The middle of a gap; None when the gap is narrow enough."""
    if high <= low * (1 + search.within):
        return None
    middle = (low + high) / 2
    value = int(middle) if search.axis == "inflight" else tidy(middle)
    return value if low < value < high else None


@dataclass(frozen=True)
class Probe:
    """A value of the searched axis, with its result."""

    value: int | float
    cell: CellResult
    standing: Standing
    meets: bool
    """Whether the search goes on above it. An unclear value is judged by its figures alone."""
    needs_repeats: bool
    """The standing is unclear, and more repeats may resolve it."""


def limit_search(config: Config, search: Search, line: Cell, study: Study) -> Step:
    """The next step towards the largest value that meets all objectives.

    Without objectives: towards the largest with which the server keeps up.
    """
    limits = objectives(config.slo)
    probes = [_probe(config, search, cell, limits) for cell in study.cells]
    metrics = [o.metric for o in limits] or [f"{study.rates}.requests_per_s"]
    figures = [
        observation(p.cell, metric, p.value, p.standing) for p in probes for metric in metrics
    ]
    unclear = [probe for probe in probes if probe.needs_repeats]
    if runs := one_more(config, [probe.cell for probe in unclear]):
        which = " and ".join(f"{probe.value:g}" for probe in unclear)
        return Step(runs, f"{search.axis.capitalize()} {which} is not clear yet.", figures=figures)
    meets = {probe.value: probe.meets for probe in probes}
    value = next_value(search, meets)
    if value is not None:
        runs = repeats_of(config, at(config, line, value))
        return Step(runs, f"{_sides(search, probes, meets)}; {value:g} is next.", figures=figures)
    return _conclusion(search, probes, meets, figures)


def _conclusion(
    search: Search, probes: list[Probe], meets: Mapping[float, bool], figures: list[Observation]
) -> Step:
    within, beyond = bracket(meets)
    ends = [probe for probe in probes if probe.value in (within, beyond)]
    unclear = [f"{probe.value:g}" for probe in ends if probe.standing == "unclear"]
    reason: Reason = (
        "not resolved"
        if unclear
        else "none meets"
        if within is None
        else "all meet"
        if beyond is None
        else "found"
    )
    message = f"{_sides(search, probes, meets)}."
    if unclear:
        message += f" {search.axis.capitalize()} {' and '.join(unclear)} is not resolved."
    answer = None if within is None else tidy(within)
    return Step([], message, reason, answer, figures)


def _sides(search: Search, probes: list[Probe], meets: Mapping[float, bool]) -> str:
    within, beyond = bracket(meets)
    unclear = {probe.value for probe in probes if probe.standing == "unclear"}
    axis = search.axis.capitalize()

    def phrase(value: float, word: str) -> str:
        return f"{value:g} {word}{' by its figures alone' if value in unclear else ''}"

    if beyond is None:
        return f"{axis} {phrase(within or 0, 'meets')}, and nothing larger was tried"
    if within is None:
        return f"{axis} {phrase(beyond, 'misses')}, and nothing less was tried"
    return f"{axis} {phrase(within, 'meets')}, {phrase(beyond, 'misses')}"


def _probe(config: Config, search: Search, cell: CellResult, limits: list[Objective]) -> Probe:
    overloads = [
        any(v.check in BEYOND and v.status == "fail" for v in repeat.result.verdicts)
        for repeat in cell.ok
        if repeat.result
    ]
    current: Standing
    if all(overloads):
        current = "misses"
    elif any(overloads):
        current = "unclear"
    else:
        current = standing(cell, limits) if limits else "meets"
    meets = 2 * sum(overloads) < len(overloads) and within_limits(cell, limits)
    needs_repeats = current == "unclear" and (any(overloads) or not _at_limit(config, cell, limits))
    return Probe(cell.cell[search.axis], cell, current, meets, needs_repeats)


def _at_limit(config: Config, cell: CellResult, limits: list[Objective]) -> bool:
    """Whether each unclear figure has an interval as narrow as `precision.width` asks.

    Such a figure lies right at its limit: more repeats would not resolve it.
    """
    unclear = [o for o in limits if o.standing(cell) == "unclear"]
    widths = [half_width(cell.estimates[o.metric]) for o in unclear]
    return all(width is not None and width <= config.precision.width for width in widths)
