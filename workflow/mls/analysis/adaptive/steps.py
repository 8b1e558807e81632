"""The outcome of a decision, and helpers that `repeats: auto` and the searches share."""

from __future__ import annotations

from dataclasses import dataclass, field

from mls.analysis.cell.result import CellResult
from mls.analysis.intervals import Estimate
from mls.config.axes import Cell, axes
from mls.config.config import Config
from mls.config.decisions import Observation, PlannedRun, Reason, Standing


@dataclass(frozen=True)
class Step:
    """The runs to add, or the reason why there are none."""

    runs: list[PlannedRun]
    message: str
    reason: Reason | None = None
    value: int | float | None = None
    figures: list[Observation] = field(default_factory=list)


def at(config: Config, line: Cell, value: int | float) -> Cell:
    """The cell of a line at a value of the searched axis."""
    return {axis: line.get(axis, value) for axis in axes(config)}


def one_more(config: Config, cells: list[CellResult]) -> list[PlannedRun]:
    """One more repeat of each cell that has fewer than `most_repeats`."""
    return [
        PlannedRun(cell=cell.cell, repeat=len(cell.repeats) + 1)
        for cell in cells
        if len(cell.repeats) < config.most_repeats
    ]


def affordable(config: Config, cells: list[CellResult], runs: list[PlannedRun]) -> bool:
    """Whether the runs fit into the rest of the budget.

    A run is assumed to take as long as the cell's repeats did on average; of a new cell, as long as
    those of the longest cell.
    """
    budget = config.precision.budget_s
    if budget is None:
        return True
    durations = [(cell.cell, cell.values("wall_s")) for cell in cells]
    means = [(cell, sum(seconds) / len(seconds)) for cell, seconds in durations if seconds]
    longest = max((mean for _, mean in means), default=0.0)
    cost_s = sum(next((mean for cell, mean in means if cell == run.cell), longest) for run in runs)
    return sum(sum(seconds) for _, seconds in durations) + cost_s <= budget


def half_width(estimate: Estimate | None) -> float | None:
    """Half the width of the interval, as a fraction of the value.

    None without an interval, or when the value is not above 0.
    """
    if estimate is None or estimate.low is None or estimate.high is None or estimate.value <= 0:
        return None
    return (estimate.high - estimate.low) / 2 / estimate.value


def observation(
    cell: CellResult,
    metric: str,
    value: int | float | None = None,
    standing: Standing | None = None,
) -> Observation:
    """A cell's figure with its interval, as a decision records it."""
    estimate = cell.estimates.get(metric)
    return Observation(
        value=value,
        repeats=len(cell.repeats),
        metric=metric,
        measured=estimate.value if estimate else None,
        low=estimate.low if estimate else None,
        high=estimate.high if estimate else None,
        standing=standing,
    )
