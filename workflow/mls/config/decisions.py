"""The runs of a sweep in which results decide what is measured next.

A line is a cell without the searched axis; without a search it is a cell. Each line has a chain
of decisions, each in a file of its own. A decision names the runs to add; the last names none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mls.config.axes import Cell, cell_key
from mls.config.cells import cells
from mls.config.config import Config
from mls.core.digest import data_sha256

PLAN = "plan"
"""Folder of the decisions, below the results."""

Runs = list[tuple[Cell, list[int]]]
"""Cells, each with the numbers of its repeats."""

Standing = Literal["meets", "misses", "unclear"]
Reason = Literal[
    "width",
    "unknown",
    "most repeats",
    "budget",
    "found",
    "not resolved",
    "all meet",
    "none meets",
]
"""Why measuring stopped. `width`: the interval is narrow enough. `unknown`: the figure has none.
`most repeats`, `budget`: a limit of the config is reached. `found`, `not resolved`: the search has
its value, or can't resolve it. `all meet`, `none meets`: its upper or lower end is reached."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlannedRun(_Strict):
    """A run to measure."""

    cell: dict[str, Any]
    repeat: int


class Observation(_Strict):
    """One figure of one cell, as it was when the decision was made from it."""

    value: int | float | None
    """Value of the searched axis; None without a search."""
    repeats: int
    metric: str
    measured: float | None
    low: float | None
    high: float | None
    standing: Standing | None = None
    """Whether the cell meets all objectives and checks together; None where there are none."""


class Decision(_Strict):
    round: int
    line: dict[str, Any]
    rules: str
    """Digest of the keys that decide (`rules_digest`)."""
    runs: list[PlannedRun]
    """Runs to measure next; empty when the line is done."""
    stopped: Reason | None = None
    """Set if and only if `runs` is empty."""
    found: int | float | None = None
    """The value that a search has found; None before its end, and when it finds none."""
    message: str
    """The reason for the decision, as a sentence."""
    seen: list[Observation] = []


def adaptive(config: Config) -> bool:
    """Whether results decide on what is measured."""
    return config.repeats == "auto" or config.search is not None


def line_of(config: Config, cell: Cell) -> Cell:
    """The line of a cell: the cell without the searched axis."""
    search_axis = config.search.axis if config.search else None
    return {axis: value for axis, value in cell.items() if axis != search_axis}


def decision_path(config: Config, line: Cell, round_: int) -> str:
    """Path of a decision's file, relative to the results."""
    return f"{PLAN}/name~{config.name}/{cell_key(line)}/round~{round_}.json"


def repeats_of(config: Config, cell: Cell) -> list[PlannedRun]:
    """The runs that a cell gets, whatever the results are."""
    return [PlannedRun(cell=cell, repeat=n) for n in range(1, config.least_repeats + 1)]


def decisions(config: Config, results: Path, line: Cell) -> Iterator[Decision]:
    """The decisions on a line, in order, up to the first that is missing or has other rules."""
    rules = rules_digest(config)
    for round_ in itertools.count(1):
        path = results / decision_path(config, line, round_)
        try:
            decision = Decision.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return
        if decision.rules != rules:
            return
        yield decision
        if not decision.runs:
            return


def planned_runs(config: Config, results: Path) -> Runs:
    """(cell, numbers of its repeats) of all runs that are planned so far, in the sweep's order.

    The plan comes from the config and the decisions, never from the runs that the folder has.
    """
    plan: Runs = []
    for first in cells(config):
        runs = repeats_of(config, first)
        if adaptive(config):
            for decision in decisions(config, results, line_of(config, first)):
                runs += decision.runs
        plan += by_cell(config, runs)
    return plan


def last_decisions(config: Config, results: Path) -> list[Decision]:
    """The last decision on each line that has one, in the order of the sweep."""
    return [chain[-1] for chain in _chains(config, results) if chain]


def decision_files(config: Config, results: Path) -> list[Path]:
    """The files of all decisions, in the order of the sweep."""
    return [
        results / decision_path(config, decision.line, decision.round)
        for chain in _chains(config, results)
        for decision in chain
    ]


def _chains(config: Config, results: Path) -> list[list[Decision]]:
    if not adaptive(config):
        return []
    return [list(decisions(config, results, line_of(config, cell))) for cell in cells(config)]


def by_cell(config: Config, runs: list[PlannedRun]) -> Runs:
    """Runs of one line, grouped by cell, in ascending order of the searched value."""
    groups: dict[str, tuple[Cell, list[int]]] = {}
    for run in runs:
        groups.setdefault(cell_key(run.cell), (run.cell, []))[1].append(run.repeat)
    if config.search:
        axis = config.search.axis
        return sorted(groups.values(), key=lambda each: float(each[0][axis]))
    return list(groups.values())


def rules_digest(config: Config) -> str:
    """Digest of the keys of the config that decide, beside the figures."""
    rules = [config.precision, config.search, config.checks, config.slo]
    # Through JSON, in which a default of 300 and 300.0 from a file are the same
    return data_sha256([config.repeats, *(each and each.model_dump_json() for each in rules)])
