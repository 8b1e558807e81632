"""The figures of the table of cells as data, by which the page's script sorts, filters, compares."""

from __future__ import annotations

from typing import Any

from mls.analysis.comparison import LATENCIES, MARGIN, SAME_MARGINS, Metric
from mls.analysis.intervals import CONFIDENCE
from mls.analysis.study import Study
from mls.report.pages.comparison import LOOKS
from mls.report.pages.comparison import MARKS as FINDING_MARKS
from mls.report.pages.rows import Column, Row
from mls.report.plots.series import label_or_load

DIGITS = 10
"""Significant digits of a repeat's figure: intervals are computed from differences between them."""


def cell_values(
    study: Study, axes: list[str], columns: list[Column], rows: list[Row]
) -> dict[str, Any]:
    """The data of the table with these axes, columns and rows, one row a cell.

    A value that isn't known is None. `repeats` has each repeat's figure for each of `metrics`, which
    are those of `mls compare`.
    """
    rate = study.rate
    metrics = (Metric(rate.metric, "Throughput", rate.unit, True), *LATENCIES)
    return {
        "columns": [
            *({"title": axis, "unit": ""} for axis in axes),
            {"title": "verdict", "unit": ""},
            *({"title": column.title, "unit": column.unit} for column in columns),
            {"title": "Repeats", "unit": ""},
        ],
        "metrics": [
            {"title": m.title, "unit": m.unit, "higher_is_better": m.higher_is_better}
            for m in metrics
        ],
        "cells": [
            {
                "name": label_or_load(cell, axes),
                "verdict": row.verdict,
                "reasons": row.reasons,
                "values": [
                    *(_axis(cell.cell[axis]) for axis in axes),
                    row.verdict,
                    *(_short(figure.value, 6) for figure in row.figures),
                    len(cell.ok),
                ],
                "repeats": [[_short(v, DIGITS) for v in cell.values(m.name)] for m in metrics],
            }
            for cell, row in zip(study.cells, rows, strict=True)
        ],
        "margin": MARGIN,
        "same_margins": SAME_MARGINS,
        "confidence": CONFIDENCE,
        "marks": FINDING_MARKS,
        "looks": LOOKS,
    }


def _axis(value: Any) -> Any:
    """A number as it is, anything else (`True` is no number) as text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else str(value)


def _short(value: float | None, digits: int) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")
