"""`repeats: auto` and `search`: from what a line's runs have shown to the next of them, or to the end.

A decision looks at nothing but the results so far, so the same results give the same decisions.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from mls.analysis.adaptive.knee_search import knee_search
from mls.analysis.adaptive.search import limit_search
from mls.analysis.adaptive.steps import Step, affordable, half_width, one_more, seen
from mls.analysis.study import CellResult, Study, read_study
from mls.config.cells import Cell, run_path
from mls.config.config import Config
from mls.config.decisions import (
    Decision,
    by_cell,
    decision_path,
    decisions,
    line_of,
    repeats_of,
    rules_digest,
)
from mls.core.errors import UserError


def decide(config: Config, results: Path, first: Cell, round_: int) -> Decision:
    """The decision of a round, after all runs that the rounds before it asked for.

    first: the cell with which its line begins, one of `cells(config)`.
    Raises `UserError` when a decision before it, or a run, isn't there.
    """
    line = line_of(config, first)
    before = list(itertools.islice(decisions(config, results, line), round_ - 1))
    if len(before) < round_ - 1:
        missing = results / decision_path(config, line, len(before) + 1)
        raise UserError(f"{missing} isn't there or is of another config: it is decided before.")
    runs = [*repeats_of(config, first), *(run for each in before for run in each.runs)]
    study = read_study(config, results, by_cell(config, runs))
    _check_there(config, study)
    step = _step(config, line, study)
    if step.runs and not affordable(config, study.cells, step.runs):
        said = f"{step.message} The budget of {config.precision.budget_s:g} s is spent."
        step = replace(step, runs=[], stopped="budget", message=said)
    return Decision(
        round=round_,
        line=line,
        rules=rules_digest(config),
        runs=step.runs,
        stopped=step.stopped,
        found=step.found,
        message=step.message,
        seen=step.seen,
    )


def _check_there(config: Config, study: Study) -> None:
    for cell in study.cells:
        for repeat in cell.repeats:
            if repeat.status != "ok":
                where = run_path(config, cell.cell, repeat.number)
                raise UserError(f"{where} has no result to decide by: {repeat.message}")


def _step(config: Config, line: Cell, study: Study) -> Step:
    search = config.search
    if search is None:
        return _enough(config, study.cells[0])
    if config.slo.limits or search.axis != "inflight":
        return limit_search(config, search, line, study)
    return knee_search(config, search, line, study)


def _enough(config: Config, cell: CellResult) -> Step:
    """`repeats: auto`: one more repeat until the interval is narrow, or there are as many as may be."""
    asked = config.precision
    metric: str = asked.metric
    if metric not in cell.estimates:  # no window: the rate of the whole run is what there is
        metric = metric.replace("throughput.", "overall.")
    shown = [seen(cell, metric)]
    width = half_width(cell.estimates.get(metric))
    count = len(cell.repeats)
    if width is None:
        said = f"There is no interval of {metric}, which more repeats would not change."
        return Step([], said, "unknown", seen=shown)
    said = (
        f"The 95 % interval of {metric} is ± {100 * width:.1f} % after {count} repeats; "
        f"± {100 * asked.width:g} % is asked."
    )
    if width <= asked.width:
        return Step([], said, "width", seen=shown)
    runs = one_more(config, [cell])
    return Step(runs, said, None if runs else "most repeats", seen=shown)
