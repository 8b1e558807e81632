"""`repeats: auto` and `search`: the results of a line decide which runs follow, or that none does.

A decision depends on nothing but the results so far: the same results give the same decisions.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from mls.analysis.adaptive.knee_search import knee_search
from mls.analysis.adaptive.search import limit_search
from mls.analysis.adaptive.steps import Step, affordable, half_width, observation, one_more
from mls.analysis.cell.result import CellResult
from mls.analysis.study import Study, read_study
from mls.config.axes import Cell
from mls.config.cells import run_path
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


def decide(config: Config, results: Path, line_start: Cell, round_: int) -> Decision:
    """The decision of a round. All runs that earlier rounds asked for must have a result.

    line_start: the first cell of the line, one of `cells(config)`. round_: counts from 1.
    Raises `UserError` when an earlier decision or a result is missing.
    """
    line = line_of(config, line_start)
    earlier = list(itertools.islice(decisions(config, results, line), round_ - 1))
    if len(earlier) < round_ - 1:
        missing = results / decision_path(config, line, len(earlier) + 1)
        raise UserError(f"{missing} isn't there or is of another config: it is decided before.")
    runs = [*repeats_of(config, line_start), *(run for each in earlier for run in each.runs)]
    study = read_study(config, results, by_cell(config, runs))
    _check_there(config, study)
    step = _step(config, line, study)
    if step.runs and not affordable(config, study.cells, step.runs):
        message = f"{step.message} The budget of {config.precision.budget_s:g} s is spent."
        step = replace(step, runs=[], reason="budget", message=message)
    return Decision(
        round=round_,
        line=line,
        rules=rules_digest(config),
        runs=step.runs,
        stopped=step.reason,
        found=step.value,
        message=step.message,
        seen=step.figures,
    )


def _check_there(config: Config, study: Study) -> None:
    for cell in study.cells:
        for repeat in cell.repeats:
            if repeat.status != "ok":
                path = run_path(config, cell.cell, repeat.number)
                raise UserError(f"{path} has no result to decide by: {repeat.message}")


def _step(config: Config, line: Cell, study: Study) -> Step:
    search = config.search
    if search is None:
        return _enough(config, study.cells[0])
    if config.slo.limits or search.axis != "inflight":
        return limit_search(config, search, line, study)
    return knee_search(config, search, line, study)


def _enough(config: Config, cell: CellResult) -> Step:
    """`repeats: auto`: one more repeat, until the interval is narrow or the repeats are used up."""
    precision = config.precision
    metric: str = precision.metric
    if metric not in cell.estimates:  # no window: the rate of the whole run is what there is
        metric = metric.replace("throughput.", "overall.")
    figures = [observation(cell, metric)]
    width = half_width(cell.estimates.get(metric))
    count = len(cell.repeats)
    if width is None:
        message = f"There is no interval of {metric}, which more repeats would not change."
        return Step([], message, "unknown", figures=figures)
    message = (
        f"The 95 % interval of {metric} is ± {100 * width:.1f} % after {count} repeats; "
        f"± {100 * precision.width:g} % is asked."
    )
    if width <= precision.width:
        return Step([], message, "width", figures=figures)
    runs = one_more(config, [cell])
    return Step(runs, message, None if runs else "most repeats", figures=figures)
