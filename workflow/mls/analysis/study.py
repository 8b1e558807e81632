"""A whole sweep: the results of its cells, and verdicts on them beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from mls.analysis.cell.estimates import cell_result
from mls.analysis.cell.result import CellResult
from mls.analysis.checks.cells.agreement import same_thing_measured
from mls.analysis.checks.cells.measured_together import measured_together, whens
from mls.analysis.checks.cells.ranks_alike import ranks_alike
from mls.analysis.checks.cells.references_alike import references_alike
from mls.analysis.parallel import on_cores
from mls.analysis.repeats import read_cell
from mls.config.axes import Cell, axes, cell_key
from mls.config.cells import cells
from mls.config.config import Config
from mls.config.decisions import (
    Decision,
    Runs,
    adaptive,
    last_decisions,
    line_of,
    planned_runs,
)
from mls.core.run_result import Verdict


@dataclass(frozen=True)
class Rate:
    """The figure of `Summary` that stands for throughput, and its unit."""

    metric: str
    unit: str


@dataclass(frozen=True)
class Study:
    """The results of a sweep."""

    config: Config
    cells: list[CellResult]
    decisions: tuple[Decision, ...] = ()
    """The last decision of each line, where results decide what is measured."""

    @cached_property
    def varying(self) -> list[str]:
        """Axes with more than one value, in their order."""
        return [
            axis for axis in axes(self.config) if len({str(c.cell[axis]) for c in self.cells}) > 1
        ]

    @property
    def naming(self) -> list[str]:
        """Axes whose values name a cell: those that vary, and inflight where only models do.

        Inflight says nothing of an open loop, so there they may be none.
        """
        alone = not self.config.load.open and {*self.varying} <= {"model"}
        return [*self.varying, *(["inflight"] if alone else [])]

    @property
    def thinks(self) -> bool:
        """Whether replies of any cell think before they answer (`CellResult.thinks`)."""
        return any(cell.thinks for cell in self.cells)

    @property
    def planned_repeats(self) -> int:
        """Number of repeats planned so far, with a result or without."""
        return sum(len(cell.repeats) for cell in self.cells)

    @property
    def measured_repeats(self) -> int:
        """Number of repeats with a result."""
        return sum(len(cell.ok) for cell in self.cells)

    @property
    def undecided(self) -> list[str]:
        """Lines (`cell_key`) on which the results have yet to decide whether more is measured."""
        if not adaptive(self.config):
            return []
        lines = [cell_key(line_of(self.config, cell)) for cell in cells(self.config)]
        settled = {cell_key(last.line) for last in self.decisions if not last.runs}
        return [line for line in lines if line not in settled]

    @property
    def complete(self) -> bool:
        """Whether every repeat by the config, and by decisions on its results, has a result."""
        return self.measured_repeats == self.planned_repeats and not self.undecided

    @cached_property
    def rates(self) -> str:
        """`throughput` when every repeat has a steady window, else `overall` for all.

        The whole study has one kind, since rates of the window and of the whole run don't compare.
        Cells on which a check failed don't count, unless there are no others.
        """
        steady = [
            r.result is not None and r.result.summary.window_s is not None
            for cell in self._trusted_cells
            for r in cell.ok
        ]
        return "throughput" if all(steady) else "overall"

    @property
    def rate(self) -> Rate:
        """Throughput in tokens/s, or in requests/s where replies' tokens are absent or unknown."""
        return self.rate_of(self.rates)

    def rate_of(self, rates: str) -> Rate:
        """`rate` for one kind of rates: `throughput` or `overall`."""
        run = self.config.run
        endpoints = {str(cell.cell.get("endpoint", run.endpoint)) for cell in self.cells}
        embeds = all(run.model_copy(update={"endpoint": one}).embeds for one in endpoints)
        tokens = f"{rates}.completion_tokens_per_s"
        if embeds or not all(
            len(cell.values(tokens)) == len(cell.ok) for cell in self._trusted_cells
        ):
            return Rate(f"{rates}.requests_per_s", "requests/s")
        return Rate(tokens, "tokens/s")

    @cached_property
    def _trusted_cells(self) -> list[CellResult]:
        """The cells on which no check failed; all cells when there are none."""
        return [cell for cell in self.cells if not cell.checks("fail")] or self.cells


def read_study(config: Config, results: Path, runs: Runs | None = None) -> Study:
    """Read the results of a config. Each core has the records of one cell in memory at a time.

    runs: the runs to read; by default all that the config, and decisions on its results, ask for.
    Raises `UserError`.
    """
    plan = planned_runs(config, results) if runs is None else runs
    cell_results = on_cores(partial(_read, config, results), plan)
    cell_results = [
        replace(c, when=w)
        for c, w in zip(cell_results, whens(cell_results, config.checks), strict=True)
    ]
    verdicts = [
        v if c.ok else None
        for c, v in zip(cell_results, same_thing_measured(cell_results), strict=True)
    ]
    cell_results = _with_verdicts(cell_results, verdicts)
    cell_results = _with_verdicts(cell_results, references_alike(cell_results, config.checks))
    cell_results = _with_verdicts(
        cell_results,
        ranks_alike(cell_results, Study(config, cell_results).rate.metric, config.checks),
    )
    cell_results = _with_verdicts(cell_results, measured_together(cell_results, config.checks))
    return Study(config, cell_results, tuple(last_decisions(config, results)))


def _with_verdicts(cells: list[CellResult], verdicts: Sequence[Verdict | None]) -> list[CellResult]:
    """The cells, each with its further verdict (None: it has none)."""
    return [
        replace(c, verdicts=(*c.verdicts, v)) if v else c
        for c, v in zip(cells, verdicts, strict=True)
    ]


def _read(config: Config, results: Path, plan: tuple[Cell, list[int]]) -> CellResult:
    cell, numbers = plan
    return cell_result(config, cell, read_cell(config, results, cell, numbers))
