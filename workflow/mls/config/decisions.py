"""What is measured when the results decide: first runs, then decision after decision.

A line is a cell without the axis that is searched (without a search: a cell). Each line has a
chain of decisions of its own, one file each; every one names the runs to add, the last none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mls.config.cells import Cell, cell_key, cells
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
"""Why measuring stopped: the interval is narrow, or its figure is not known; limits of the config;
the search found its value, or couldn't tell, or met the end of its range on either side."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wanted(_Strict):
    """A run to measure."""

    cell: dict[str, Any]
    repeat: int


class Seen(_Strict):
    """What a decision was made from: one figure of one cell, as it stood."""

    value: int | float | None
    """Of the searched axis; None without a search."""
    repeats: int
    metric: str
    measured: float | None
    low: float | None
    high: float | None
    standing: Standing | None = None
    """Of the cell, to all objectives and checks together; None where there are none to meet."""


class Decision(_Strict):
    round: int
    line: dict[str, Any]
    rules: str
    """Digest of the keys that it was made by (`rules_digest`)."""
    runs: list[Wanted]
    """To be measured next; empty: the line is done."""
    stopped: Reason | None = None
    """Set if and only if there are no more runs."""
    found: int | float | None = None
    """What a search has found, once it is done."""
    message: str
    """Why, in a sentence."""
    seen: list[Seen] = []


def adaptive(config: Config) -> bool:
    """Whether results decide on what is measured."""
    return config.repeats == "auto" or config.search is not None


def line_of(config: Config, cell: Cell) -> Cell:
    """The line that a cell is on."""
    searched = config.search.axis if config.search else None
    return {axis: value for axis, value in cell.items() if axis != searched}


def decision_path(config: Config, line: Cell, round_: int) -> str:
    """Of a decision's file, below the results."""
    return f"{PLAN}/name~{config.name}/{cell_key(line)}/round~{round_}.json"


def repeats_of(config: Config, cell: Cell) -> list[Wanted]:
    """The repeats that a cell gets whatever comes out."""
    return [Wanted(cell=cell, repeat=n) for n in range(1, config.least_repeats + 1)]


def decisions(config: Config, results: Path, line: Cell) -> Iterator[Decision]:
    """The decisions on a line that were made by the config's rules, up to the last or the first missing."""
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


def planned(config: Config, results: Path) -> Runs:
    """(cell, its repeats) of all runs that are known to be wanted, in the order of the sweep.

    From the config and the decisions, never from what happens to lie in the folder.
    """
    found: Runs = []
    for first in cells(config):
        runs = repeats_of(config, first)
        if adaptive(config):
            for decision in decisions(config, results, line_of(config, first)):
                runs += decision.runs
        found += by_cell(config, runs)
    return found


def last_decisions(config: Config, results: Path) -> list[Decision]:
    """How far each line has come, of those on which anything was decided."""
    return [chain[-1] for chain in _chains(config, results) if chain]


def decision_files(config: Config, results: Path) -> list[Path]:
    """All that was decided, in the order of the sweep."""
    return [
        results / decision_path(config, decision.line, decision.round)
        for chain in _chains(config, results)
        for decision in chain
    ]


def _chains(config: Config, results: Path) -> list[list[Decision]]:
    if not adaptive(config):
        return []
    return [list(decisions(config, results, line_of(config, cell))) for cell in cells(config)]


def by_cell(config: Config, runs: list[Wanted]) -> Runs:
    """Runs of one line, gathered by cell; searched values in ascending order."""
    found: dict[str, tuple[Cell, list[int]]] = {}
    for run in runs:
        found.setdefault(cell_key(run.cell), (run.cell, []))[1].append(run.repeat)
    if config.search:
        axis = config.search.axis
        return sorted(found.values(), key=lambda each: float(each[0][axis]))
    return list(found.values())


def rules_digest(config: Config) -> str:
    """Of what decisions are made by, besides the figures."""
    rules = [config.precision, config.search, config.checks, config.slo]
    # by way of JSON, in which 300 as a default and 300.0 as it was read again are the same
    return data_sha256([config.repeats, *(each and each.model_dump_json() for each in rules)])
