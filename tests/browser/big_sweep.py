"""A sweep of a thousand cells, made of the results of a few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.unit.synthetic import config, write_results

from mls.analysis.cell.result import CellResult
from mls.analysis.study import Study, read_study
from mls.config.axes import Cell
from mls.config.cells import cells

FEW = {"inflight": [2, 4, 8, 16]}


def thousand_cells(results: Path) -> Study:
    """A study whose cells differ in three axes; every fourth has the same results."""
    run = {"iters": 24, "max_tokens": 16}
    few = config(sweep=FEW, run=run)
    write_results(few, results)
    sweep = config(
        run=run,
        sweep=FEW | {"prompt_words": [*range(10, 35)], "max_tokens": [*range(1, 11)]},
        price={"per_hour": 2.5},
    )
    measured = {cell.cell["inflight"]: cell for cell in read_study(few, results).cells}
    return Study(sweep, [_moved(measured[cell["inflight"]], cell) for cell in cells(sweep)])


def _moved(result: CellResult, cell: Cell) -> CellResult:
    return replace(
        result, cell=cell, repeats=[replace(repeat, cell=cell) for repeat in result.repeats]
    )
