"""Does the server answer the requests in flight at once, or do they wait in its queue?"""

from __future__ import annotations

import numpy as np

from mls.analysis.repeat.columns import Floats, Ints, lists, succeeded
from mls.analysis.repeat.evidence import Evidence, verdict
from mls.analysis.repeat.in_flight import being_answered, timeline
from mls.core.run_result import Verdict

_NOTABLE = 0.01
"""Share of the time for which a number must have been answered at once to be the most."""

_AT_LIMIT = 0.25
"""Share of the time at that number above which it is a limit. Requests that are read and answered
independently are at their most for less: of 2 in flight for at most 18 %, of more for less."""

_WAITING = 0.2
"""Share of the requests in flight that must wait at a limit: those whose prompt is being read wait,
too, for about one step of as many as their reply has tokens."""

_LEAST_CHUNKS = 8


def served_at_once(evidence: Evidence) -> Verdict | None:
    """Requests that are being answered, from first token to end, beside those in flight.

    None for replies that have no first token apart from their end.
    """
    ok = succeeded(evidence.table)
    chunks = lists(evidence.table, "chunk_ns").lengths[ok]
    if not evidence.run.stream or evidence.run.embeds or not (chunks > 1).any():
        return None
    course = evidence.over_time or timeline(evidence.table, None)
    begin, end = course.window or (int(course.in_flight.at_ns[0]), int(course.in_flight.at_ns[-1]))
    answering = being_answered(evidence.table)
    moments = np.union1d(course.in_flight.at_ns, answering.at_ns)
    moments = np.union1d(moments[(moments > begin) & (moments < end)], [begin])
    share = np.diff(np.append(moments, end)) / (end - begin)
    outstanding, served = course.in_flight.at(moments), answering.at(moments)
    mean, level = float(share @ served), float(share @ outstanding)
    most = _most(served, share)
    text = f"Of {level:.1f} requests in flight the server answered {mean:.1f} at a time"
    if not _limited(outstanding, served, share, most):
        message = f"{text}; the others waited for their first token."
        return verdict("served_at_once", "pass", mean, level, message)
    if float((~ok).mean()) > _WAITING:  # such requests are in flight, and are never answered
        message = (
            f"{text}, and never more than {most}. Whether the rest queued can't be told, as "
            f"{int((~ok).sum())} of {len(ok)} requests failed or were cancelled."
        )
        return verdict("served_at_once", "unknown", mean, level, message)
    if float(np.median(chunks)) < _LEAST_CHUNKS:
        message = (
            f"{text}, and never more than {most}. Whether the rest queued can't be told of so short "
            "replies: measure with more tokens a reply (run.max_tokens)."
        )
        return verdict("served_at_once", "unknown", mean, level, message)
    message = (
        f"{text}, and never more than {most}: the rest queued, which counts in TTFT and latency. Give the "
        "server more slots (sequences at once), or ask for fewer in flight."
    )
    return verdict("served_at_once", "warn", mean, level, message)


def _most(served: Ints, share: Floats) -> int:
    """The largest number that was reached for a notable time."""
    for_so_many = np.bincount(served, weights=share)
    at_least = np.cumsum(for_so_many[::-1])[::-1]
    return int(np.flatnonzero(at_least >= min(_NOTABLE, at_least[0]))[-1])


def _limited(outstanding: Ints, served: Ints, share: Floats, most: int) -> bool:
    """Whether the most is a limit: reached for much of the time in which many more were in flight."""
    beyond = outstanding * (1 - _WAITING) > most
    time_beyond = float(share[beyond].sum())
    if time_beyond < _AT_LIMIT:
        return False
    return float(share[beyond & (served == most)].sum()) >= _AT_LIMIT * time_beyond
