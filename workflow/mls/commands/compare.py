"""`mls compare`: the comparison of two sets of results, as a page, a text and an exit status."""

from __future__ import annotations

import re
from pathlib import Path

from mls.analysis.comparison import MARGIN, compare
from mls.analysis.differences import differences
from mls.analysis.result_sets import opened
from mls.core.errors import UserError
from mls.report.pages.comparison import comparison_view, render
from mls.report.text.comparison import Format, as_text

WORSE = 2
"""Exit status when a cell is worse; an error has 1."""


def compare_results(
    base: Path, new: Path, output: Path, fail_if_worse: str | None, form: Format = "text"
) -> int:
    """Compare, write the page and print the comparison. Returns the exit status.

    base, new: folders of results, or archives. fail_if_worse: the margin, such as `5%`; with one,
    the status is `WORSE` when a cell is worse. Raises `UserError`.
    """
    margin = MARGIN if fail_if_worse is None else _fraction(fail_if_worse)
    with opened(base) as before, opened(new) as after:
        comparison = compare(before.study, after.study, margin)
        setup_differences = differences(before.study, before.folder, after.study, after.folder)
        view = comparison_view(before, after, comparison, setup_differences)
    if not comparison.cells:
        raise UserError(f"{base} and {new} have no measured cell in common.")
    render(view, output)
    print(as_text(view, form))
    return WORSE if fail_if_worse is not None and comparison.worse() else 0


def _fraction(text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if not match or float(match[1]) <= 0:
        raise UserError(f"--fail-if-worse: expected a percentage above 0 such as 5%, not {text!r}.")
    return float(match[1]) / 100
