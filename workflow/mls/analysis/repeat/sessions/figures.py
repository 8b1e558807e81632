"""The figures of a repeat's conversations."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Floats, ints, succeeded
from mls.analysis.repeat.samples import distribution
from mls.analysis.repeat.sessions.context import context
from mls.analysis.repeat.sessions.spans import spans
from mls.core.summary import Sessions
from mls.core.units import NS_PER_MS


def sessions(table: pa.Table, own_replies: bool) -> Sessions | None:
    """None without conversations. own_replies: see `context`."""
    session, ok = ints(table, "session"), succeeded(table)
    if not session.valid.any():
        return None
    valid = np.flatnonzero(session.valid)
    times = (session.values, ints(table, "start_ns").values, ints(table, "end_ns").values)
    number, start, end = (values[valid] for values in times)
    order, begin = spans(number, start, end)
    number, start, end, rows = number[order], start[order], end[order], valid[order]
    firsts = np.flatnonzero(np.diff(number, prepend=np.int64(-1)))
    whole = np.logical_and.reduceat(ok[rows], firsts)
    duration = np.maximum.reduceat(end, firsts) - start[firsts]
    waits = np.maximum.reduceat(end, begin) - start[begin]
    waiting = np.add.reduceat(waits, np.searchsorted(begin, firsts))
    branch = ints(table, "branch")
    branches = np.unique(np.stack((session.values, branch.values))[:, branch.valid], axis=1)
    tokens = context(table, own_replies)
    later = ok & session.valid & (ints(table, "turn").values > 0)
    return Sessions(
        total=len(firsts),
        failed=int((~whole).sum()),
        branches=branches.shape[1],
        duration_ms=distribution(duration[whole] / NS_PER_MS),
        waiting_ms=distribution(waiting[whole] / NS_PER_MS),
        cached_share=_share(
            _tokens(table, "cached_tokens"), _tokens(table, "prompt_tokens"), later
        ),
        anew_tokens=_number(tokens.anew[later].mean()) if later.any() else None,
        anew_share=_share(tokens.anew, tokens.before, later),
    )


def _tokens(table: pa.Table, name: str) -> Floats:
    column = ints(table, name)
    return np.where(column.valid, column.values, np.nan)


def _share(part: Floats, whole: Floats, rows: np.ndarray) -> float | None:
    """None where a request's count is unknown, and without requests."""
    return _number(part[rows].sum() / whole[rows].sum()) if whole[rows].sum() else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
