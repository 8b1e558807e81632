"""The page of a sweep that is still measured: the figures so far, without an answer."""

from __future__ import annotations

from pathlib import Path

from mls.analysis.study import Study, read_study
from mls.config.cells import run_path
from mls.config.config import Config
from mls.config.decisions import Runs, adaptive, planned_runs
from mls.core.errors import UserError
from mls.core.files import write
from mls.core.run_folder import FAILURE, RUN
from mls.report.pages.page import page


def render_so_far(config: Config, results: Path, output: Path) -> None:
    """Write the page of the repeats that have ended, marked with how many of the planned these are.

    Raises `UserError` as `page.render` does, and when no repeat has a result.
    """
    plan = planned_runs(config, results)
    study = read_study(config, results, _ended(config, results, plan))
    if not study.measured_repeats:
        raise UserError("No repeat has a result yet, so there is no page of the sweep so far.")
    write(output, page(study, results, so_far=mark(study, plan)))


def mark(study: Study, plan: Runs) -> str:
    """What such a page is marked with: `3 of 12 repeats so far`."""
    planned = sum(len(numbers) for _, numbers in plan)
    least = "at least " if adaptive(study.config) and study.undecided else ""
    return f"{study.measured_repeats} of {least}{planned} repeats so far"


def _ended(config: Config, results: Path, plan: Runs) -> Runs:
    """The runs of a plan that have ended, with a result or without, and their cells alone."""

    def has_ended(folder: Path) -> bool:
        return any((folder / name).is_file() for name in (RUN, FAILURE))

    ended = []
    for cell, numbers in plan:
        of_cell = [n for n in numbers if has_ended(results / "runs" / run_path(config, cell, n))]
        if of_cell:
            ended.append((cell, of_cell))
    return ended
