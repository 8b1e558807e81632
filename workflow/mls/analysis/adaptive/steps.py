"""What a decision comes to, and what `repeats: auto` and the searches share."""

from __future__ import annotations

from dataclasses import dataclass, field

from mls.analysis.intervals import Estimate
from mls.analysis.study import CellResult
from mls.config.cells import Cell, axes
from mls.config.config import Config
from mls.config.decisions import Observation, PlannedRun, Reason, Standing


@dataclass(frozen=True)
class Step:
    """The runs to add, or why there are none."""

    runs: list[PlannedRun]
    message: str
    stopped: Reason | None = None
    found: int | float | None = None
    seen: list[Observation] = field(default_factory=list)


def at(config: Config, line: Cell, value: int | float) -> Cell:
    """The cell of a line at a value of the searched axis."""
    return {axis: line.get(axis, value) for axis in axes(config)}


def one_more(config: Config, cells: list[CellResult]) -> list[PlannedRun]:
    """Another repeat of each of the cells that may have one."""
    return [
        PlannedRun(cell=cell.cell, repeat=len(cell.repeats) + 1)
        for cell in cells
        if len(cell.repeats) < config.most_repeats
    ]


def affordable(config: Config, cells: list[CellResult], runs: list[PlannedRun]) -> bool:
    """Whether these runs fit into what is left of the budget, if they take as long as those before.

    A cell that is new is taken to last as long as the longest of the others.
    """
    budget = config.precision.budget_s
    if budget is None:
        return True
    took = [(cell.cell, cell.values("wall_s")) for cell in cells]
    means = [(cell, sum(seconds) / len(seconds)) for cell, seconds in took if seconds]
    longest = max((mean for _, mean in means), default=0.0)
    to_come = sum(next((mean for cell, mean in means if cell == run.cell), longest) for run in runs)
    return sum(sum(seconds) for _, seconds in took) + to_come <= budget


def half_width(found: Estimate | None) -> float | None:
    """Half the interval as a fraction of the value; None without an interval or a value above 0."""
    if found is None or found.low is None or found.high is None or found.value <= 0:
        return None
    return (found.high - found.low) / 2 / found.value


def seen(
    cell: CellResult,
    metric: str,
    value: int | float | None = None,
    standing: Standing | None = None,
) -> Observation:
    """A figure of a cell as it stands."""
    found = cell.estimates.get(metric)
    return Observation(
        value=value,
        repeats=len(cell.repeats),
        metric=metric,
        measured=found.value if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        standing=standing,
    )
