"""Was the server the same from the beginning of the window to its end?

Both tests are of batches of requests, and both want an effect of some size beside its being unlikely
by chance: neighbouring requests of a closed loop are alike.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np

from mls.analysis.columns import Floats, ints, succeeded
from mls.analysis.evidence import Evidence, Status, excess, verdict
from mls.analysis.flight import flight, window
from mls.analysis.pace import keeps_full
from mls.model.result import Verdict

ALPHA = 0.02
"""Chance of a false alarm that a test may have, were batches independent."""

BATCHES = 20
MOMENT = 0.5
"""A batch is of requests that begin within so many latencies of one another, at least. Those of a
full server begin together and end together, round after round: alone they look like a trend."""

FILLING = 0.05
"""Requests that begin at most so many latencies before all places are full are of the window, too."""

LEAST_BATCHES = 5
"""With fewer no order of them is unlikely enough: 2/4! > ALPHA."""

HEAD = 4
"""The first of so many parts of the window is compared with the rest."""


def window_alike(given: Evidence) -> list[Verdict]:
    """Both verdicts; none where the load is meant to change, and latency with it."""
    if given.load.changing:
        return []
    drift, warmup = given.checks.drift, given.checks.warmup_effect
    begun, latency = _in_window(given)
    batches = _batches(begun)
    if len(batches) < LEAST_BATCHES:
        count = len(batches)
        return [_too_few("steady", drift, count), _too_few("warmed_up", warmup, count)]
    at = np.array([begun[batch].mean() for batch in batches])
    level = np.array([latency[batch].mean() for batch in batches])
    return [_steady(at, level, len(latency), drift), _warmed_up(level, batches, warmup)]


def _steady(at: Floats, level: Floats, requests: int, allowed: float) -> Verdict:
    """Trend of the batches' latency: Mann and Kendall's test, Theil and Sen's slope."""
    from scipy import stats  # see `_warmed_up`

    found = stats.kendalltau(at, level)
    change = _slope(at, level) * float((at[-1] - at[0]) / np.median(level))
    likely = bool(found.pvalue < ALPHA)  # nan, when all are equal, is not
    drifts = likely and abs(change) > allowed
    status: Status = excess(abs(change), allowed) if drifts else "pass"
    if drifts:
        message = (
            f"Latency {'rose' if change > 0 else 'fell'} by {abs(change):.0%} over the window: "
            "its figures are of a server, or a host, that was changing. Measure longer "
            "(run.iters or run.duration_s), or find out what changed."
        )
    elif likely:
        message = f"Latency changed by {change:+.1%} over the window, less than {allowed:.0%}."
    else:
        message = f"No trend in the latency of {requests} requests of the window."
    return verdict("steady", status, change, allowed, message)


def _warmed_up(level: Floats, batches: list[slice], allowed: float) -> Verdict:
    """The window's first batches against its others: Student's test on logs, ratio of medians."""
    # loaded when a run's load is over: until then rank 0 need not wait for it, nor hold it
    from scipy import stats

    first = max(1, len(batches) // HEAD)
    count = batches[first].start - batches[0].start
    others = batches[-1].stop - batches[first].start
    slower = float(np.median(level[:first]) / np.median(level[first:]) - 1)
    likely = False
    if slower > allowed:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # batches that are all alike
            found = stats.ttest_ind(
                np.log(level[:first]), np.log(level[first:]), alternative="greater"
            )
        likely = bool(found.pvalue < ALPHA / 2)  # as strict in its direction as `steady`
    if likely:
        message = (
            f"The first {count} requests of the window took {slower:.0%} longer than the others: "
            "warm up with more requests (run.warmup)."
        )
        return verdict("warmed_up", excess(slower, allowed), slower, allowed, message)
    message = f"The first {count} requests of the window took no longer than the other {others}."
    if slower > allowed:
        message = (
            f"The first {count} requests of the window took {slower:.0%} longer than the other "
            f"{others}, which may be chance."
        )
    return verdict("warmed_up", "pass", slower, allowed, message)


def _batches(begun: Floats) -> list[slice]:
    """Requests of each batch. begun: ascending, in latencies.

    Those at either end of the window that hold less than half as many as usual are left out: the
    first in a queue and the last are not like the others.
    """
    if not len(begun):
        return []
    bounds = [0]
    width = max(MOMENT, float(begun[-1] - begun[0]) / BATCHES)
    while bounds[-1] < len(begun):
        bounds.append(int(np.searchsorted(begun, begun[bounds[-1]] + width)))
    usual = np.median(np.diff(bounds))
    found = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    for end in (0, -1):
        if found[end].stop - found[end].start < usual / 2:
            found.pop(end)
    return found


def _slope(x: Floats, y: Floats) -> float:
    """Theil and Sen's: the median of the slopes between all pairs of points."""
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] > x[first]
    rise = (y[second] - y[first])[apart]
    return float(np.median(rise / (x[second] - x[first])[apart])) if apart.any() else 0.0


def _in_window(given: Evidence) -> tuple[Floats, Floats]:
    """(start since the window's begin, latency) of successful requests within it, by start.

    Both are multiples of the median latency; in conversations the latency is one of its own turn's,
    since later turns have longer prompts.
    """
    start, end = ints(given.table, "start_ns"), ints(given.table, "end_ns")
    full = given.summary.inflight.asked if keeps_full(given.load, given.workload) else None
    bounds = window(given.table, flight(given.table), full)
    if bounds is None:
        return np.empty(0), np.empty(0)
    begin, stop = bounds
    done = succeeded(given.table) & (end.values <= stop)
    filling = FILLING * float(np.median((end.values - start.values)[done])) if done.any() else 0.0
    inside = done & (start.values >= begin - filling)
    order = np.argsort(start.values[inside], kind="stable")
    latency = (end.values - start.values)[inside][order].astype(np.float64)
    begun = (start.values[inside] - begin)[order] / (np.median(latency) if len(latency) else 1)
    turn = ints(given.table, "turn").values[inside][order]
    for each in np.unique(turn):
        latency[turn == each] /= np.median(latency[turn == each])
    return begun, latency


def _too_few(check: str, allowed: float, count: int) -> Verdict:
    message = (
        f"Requests that lie whole within the window begin at {count} moments, and {LEAST_BATCHES} "
        "are needed to tell: measure longer (run.iters or run.duration_s)."
    )
    return verdict(check, "unknown", None, allowed, message)
