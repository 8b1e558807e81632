"""The page's table of conversations: how long they took, and what was processed anew."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis.cell.result import CellResult
from mls.analysis.study import Study
from mls.report.plots.series import label_or_load
from mls.report.text.numbers import interval, milliseconds, milliseconds_interval, number


@dataclass(frozen=True)
class SessionRow:
    """The conversations of one cell, as texts."""

    cell: str
    figures: list[str]


HEADINGS = (
    "conversations",
    "failed",
    "branches",
    "time",
    "of it waiting",
    "cached share",
    "anew a turn",
    "share of the context",
)


def session_table(study: Study, names: list[str]) -> list[SessionRow]:
    """Rows of the cells with conversations. names: axes that name a cell."""
    rows = []
    for cell in study.cells:
        each = [r.result.summary.sessions for r in cell.ok if r.result]
        known = [sessions for sessions in each if sessions]
        if known:
            figures = [
                str(sum(sessions.total for sessions in known)),
                str(sum(sessions.failed for sessions in known)),
                str(sum(sessions.branches for sessions in known)),
                _time(cell, "sessions.duration_ms.mean"),
                _time(cell, "sessions.waiting_ms.mean"),
                *(_number(cell, f"sessions.{name}") for name in _TOKENS),
            ]
            rows.append(SessionRow(label_or_load(cell, names), figures))
    return rows


_TOKENS = ("cached_share", "anew_tokens", "anew_share")


def _time(cell: CellResult, metric: str) -> str:
    estimate = cell.estimates.get(metric)
    if estimate is None:
        return "–"
    return _with_interval(milliseconds(estimate.value), milliseconds_interval(estimate))


def _number(cell: CellResult, metric: str) -> str:
    estimate = cell.estimates.get(metric)
    return "–" if estimate is None else _with_interval(number(estimate.value), interval(estimate))


def _with_interval(value: str, span: str) -> str:
    return f"{value} ({span})" if span else value
