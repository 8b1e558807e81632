"""`search`: the largest value that meets the objectives, by doubling and then bisection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mls.analysis.adaptive.steps import Step, at, half_width, one_more, seen
from mls.analysis.objectives import Objective, objectives, standing, within_limits
from mls.analysis.study import CellResult, Study
from mls.config.cells import Cell, tidy
from mls.config.config import Config
from mls.config.decisions import Observation, Reason, Standing, repeats_of
from mls.config.sections.adaptive import Search

BEYOND = frozenset({"errors", "server_kept_up"})
"""Checks that say, when they fail, that the load was more than the server can take."""


def next_value(search: Search, meets: Mapping[float, bool]) -> int | float | None:
    """The value to try next, None when there is none.

    meets: value tried → whether it meets what is asked. Values double until one misses (or `high`
    meets), then the gap is halved until its ends differ by at most `within` (of inflight: or are
    neighbours). So nothing is tried at more than twice the answer, where a run may take very long.
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
    """(largest value that meets below all that miss, least value that misses); None: there is none."""
    beyond = min((value for value, good in meets.items() if not good), default=None)
    within = [v for v, good in meets.items() if good and (beyond is None or v < beyond)]
    return max(within, default=None), beyond


def between(search: Search, low: float, high: float) -> int | float | None:
    """The middle of a gap; None when it is narrow enough."""
    if high <= low * (1 + search.within):
        return None
    middle = (low + high) / 2
    found = int(middle) if search.axis == "inflight" else tidy(middle)
    return found if low < found < high else None


@dataclass(frozen=True)
class Probe:
    """A value that was tried."""

    value: int | float
    cell: CellResult
    standing: Standing
    counts: bool
    """Whether the search goes on above it: an unclear one by its figures alone."""
    wants: bool
    """It is unclear, and more repeats may clear it."""


def limit_search(config: Config, search: Search, line: Cell, study: Study) -> Step:
    """The largest value that meets all objectives; without any: with which the server keeps up."""
    asked = objectives(config.slo)
    probes = [_probe(config, search, cell, asked) for cell in study.cells]
    metrics = [o.metric for o in asked] or [f"{study.rates}.requests_per_s"]
    shown = [seen(p.cell, metric, p.value, p.standing) for p in probes for metric in metrics]
    unclear = [probe for probe in probes if probe.wants]
    if runs := one_more(config, [probe.cell for probe in unclear]):
        which = " and ".join(f"{probe.value:g}" for probe in unclear)
        return Step(runs, f"{search.axis.capitalize()} {which} is not clear yet.", seen=shown)
    meets = {probe.value: probe.counts for probe in probes}
    value = next_value(search, meets)
    if value is not None:
        runs = repeats_of(config, at(config, line, value))
        return Step(runs, f"{_sides(search, probes, meets)}; {value:g} is next.", seen=shown)
    return _found(search, probes, meets, shown)


def _found(
    search: Search, probes: list[Probe], meets: Mapping[float, bool], shown: list[Observation]
) -> Step:
    within, beyond = bracket(meets)
    ends = [probe for probe in probes if probe.value in (within, beyond)]
    unclear = [f"{probe.value:g}" for probe in ends if probe.standing == "unclear"]
    stopped: Reason = (
        "not resolved"
        if unclear
        else "none meets"
        if within is None
        else "all meet"
        if beyond is None
        else "found"
    )
    said = f"{_sides(search, probes, meets)}."
    if unclear:
        said += f" {search.axis.capitalize()} {' and '.join(unclear)} is not resolved."
    found = None if within is None else tidy(within)
    return Step([], said, stopped, found, shown)


def _sides(search: Search, probes: list[Probe], meets: Mapping[float, bool]) -> str:
    within, beyond = bracket(meets)
    unclear = {probe.value for probe in probes if probe.standing == "unclear"}
    axis = search.axis.capitalize()

    def said(value: float, word: str) -> str:
        return f"{value:g} {word}{' by its figures alone' if value in unclear else ''}"

    if beyond is None:
        return f"{axis} {said(within or 0, 'meets')}, and nothing larger was tried"
    if within is None:
        return f"{axis} {said(beyond, 'misses')}, and nothing less was tried"
    return f"{axis} {said(within, 'meets')}, {said(beyond, 'misses')}"


def _probe(config: Config, search: Search, cell: CellResult, asked: list[Objective]) -> Probe:
    over = [
        any(v.check in BEYOND and v.status == "fail" for v in repeat.result.verdicts)
        for repeat in cell.ok
        if repeat.result
    ]
    found: Standing
    if all(over):
        found = "misses"
    elif any(over):
        found = "unclear"
    else:
        found = standing(cell, asked) if asked else "meets"
    counts = 2 * sum(over) < len(over) and within_limits(cell, asked)
    wants = found == "unclear" and (any(over) or not _at_limit(config, cell, asked))
    return Probe(cell.cell[search.axis], cell, found, counts, wants)


def _at_limit(config: Config, cell: CellResult, asked: list[Objective]) -> bool:
    """Whether what is unclear is known as exactly as was asked: it lies right at its limit."""
    unclear = [o for o in asked if o.standing(cell) == "unclear"]
    widths = [half_width(cell.estimates[o.metric]) for o in unclear]
    return all(width is not None and width <= config.precision.width for width in widths)
