"""Did the load go as planned? Places that are kept full, users who think, arrivals that come by themselves."""

from __future__ import annotations

import itertools
import math

import numpy as np

from mls.analysis.repeat.columns import Floats, ints
from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.analysis.sample_size import longer
from mls.config.sections.load import Load
from mls.config.sections.workload import Workload
from mls.core.run_result import Verdict
from mls.core.units import NS_PER_MS, NS_PER_S

_LEAST_REQUESTS = 8
_QUARTERS = 4
Z_MISS = 1.645
"""The normal distribution exceeds it with the chance `MISS`."""


def keeps_full(load: Load, workload: Workload) -> bool:
    """Whether all places are always taken: a closed loop without pauses."""
    return not (load.open or load.think_s or workload.think_s)


def capped(evidence: Evidence) -> bool:
    """Whether the cap of an open loop was reached."""
    cap = evidence.load.max_inflight
    return cap is not None and evidence.summary.inflight.max >= cap


def load_held(evidence: Evidence) -> Verdict:
    """`server_kept_up` of an open loop, else `concurrency_held`."""
    if evidence.load.open:
        return _server_kept_up(evidence)
    return (
        _places_held(evidence)
        if keeps_full(evidence.load, evidence.workload)
        else _users_held(evidence)
    )


def _places_held(evidence: Evidence) -> Verdict:
    held, sent = evidence.summary.inflight, evidence.summary.requests.total
    least = held.asked * (1 - evidence.checks.inflight_tolerance)
    if held.max < held.asked:
        few = f"; with only {sent} requests there can't be more" if sent <= held.max else ""
        message = (
            f"{held.asked} requests in flight were asked for, but there were never more than "
            f"{held.max}{few}: these figures are not those of inflight {held.asked}."
        )
        return verdict("concurrency_held", "fail", held.achieved_littles_law, least, message)
    if held.achieved_time_weighted is None:
        message = (
            f"{held.asked} requests were in flight at once, but no further request was started "
            "after that, so there is no steady window: send more requests to measure rates."
        )
        return verdict("concurrency_held", "warn", held.achieved_littles_law, least, message)
    kept = held.achieved_time_weighted >= least
    message = (
        f"In the window {held.achieved_time_weighted:.2f} of {held.asked} requests "
        f"were in flight on average{'.' if kept else ': the client did not keep the server busy.'}"
    )
    status: Status = "pass" if kept else "fail"
    return verdict("concurrency_held", status, held.achieved_time_weighted, least, message)


def _server_kept_up(evidence: Evidence) -> Verdict:
    """Does the backlog grow while requests arrive?

    Of the arrivals' time the second quarter is compared with the last: the mean number of requests
    that are due and not complete. A server that does μ of λ offered falls behind by 1 − μ/λ of what
    arrives between the two; the walk of a queue that is kept up with is of the order of the square
    root of that number, times the arrivals' coefficient of variation. Where the rate is meant to
    change, a backlog in proportion to it is none (Little's law at the latency of before).
    """
    allowed = evidence.checks.queue_growth
    due, end = _course(evidence)
    if len(due) < _LEAST_REQUESTS or due[-1] == 0:
        message = f"Too few arrivals ({len(due)}) to tell whether the server keeps up with them."
        return verdict("server_kept_up", "unknown", None, allowed, message)
    edges = due[-1] * np.arange(_QUARTERS + 1) / _QUARTERS
    arrived = np.histogram(due, edges)[0]
    backlog = [_mean_between(due, end, a, b) for a, b in itertools.pairwise(edges)]
    if not arrived[1] or not arrived[-1]:
        message = "Arrivals are too far apart to tell whether the server keeps up with them."
        return verdict("server_kept_up", "unknown", None, allowed, message)
    meant = arrived[-1] / arrived[1] if evidence.load.changing else 1.0
    filling = float((end - due)[due <= edges[1]].min())
    if edges[1] < filling:
        enough = math.ceil(2 * len(due) * filling / edges[1])
        more = longer(enough, evidence.run, evidence.load, evidence.workload)
        message = (
            f"Requests arrived for {due[-1]:.3g} s only, which at their latency is hardly more than "
            f"filling the server takes: {more}."
        )
        return verdict("server_kept_up", "unknown", None, allowed, message)
    grown = backlog[-1] - backlog[1] * meant
    middle = (edges[1:] + edges[:-1]) / 2
    between = int(((due > middle[1]) & (due <= middle[-1])).sum())
    gaps = np.diff(due)
    noise = 2 * max(1.0, float(gaps.std() / gaps.mean()) * between**0.5)
    share = float(grown / max(between, 1))
    growing = share > allowed and grown > noise
    rate = (len(due) - 1) / due[-1]
    unfinished = evidence.summary.requests.errors.get("unfinished", 0)
    left = f" {unfinished} requests were not complete at the end." if unfinished else ""
    if growing:
        message = (
            f"The queue grew: at {rate:.3g} requests/s the server fell behind by {share:.0%} of what "
            f"arrived, from {backlog[1]:.3g} to {backlog[-1]:.3g} requests due and not complete; "
            f"these latencies depend on how long the run was.{left}"
        )
        return verdict("server_kept_up", "fail", share, allowed, message)
    if unfinished:
        message = f"The server kept up with {rate:.3g} requests/s.{left}"
        return verdict("server_kept_up", "warn", share, allowed, message)
    behind = _most_behind(due, end)
    if share > allowed or behind >= 2 * allowed:
        more = longer(
            _arrivals(len(due), behind, allowed), evidence.run, evidence.load, evidence.workload
        )
        message = (
            f"{len(due)} arrivals can't tell whether the server kept up with {rate:.3g} requests/s, "
            f"or fell behind by {behind:.0%} of them: {more}."
        )
        return verdict("server_kept_up", "unknown", share, allowed, message)
    message = (
        f"The server kept up with {rate:.3g} requests/s: had it fallen behind by "
        f"{2 * allowed:.0%} of what arrived, it would have shown."
    )
    return verdict("server_kept_up", "pass", share, allowed, message)


def _most_behind(due: Floats, end: Floats) -> float:
    """The largest share of the arrivals by which the server may have fallen behind.

    What is due and not complete when the last request arrives, beside what the scatter of the
    latencies lets a busy server complete by luck in that time (a renewal process).
    """
    last = due[-1]
    left = int((end > last).sum())
    latency = end - due
    luck = float(latency.std() / latency.mean()) * len(due) ** 0.5
    return float((left + Z_MISS * luck) / len(due))


def _arrivals(count: int, behind: float, allowed: float) -> int:
    """About so many arrivals tell: what is left is the same then, and luck grows with the root."""
    return math.ceil(count * max(1.5, (behind / allowed) ** 1.5))


def _course(evidence: Evidence) -> tuple[Floats, Floats]:
    """(due, end) in s since the first was due, of all requests in the order in which they were."""
    due, end = ints(evidence.table, "scheduled_ns"), ints(evidence.table, "end_ns")
    known = due.valid & end.valid
    order = np.argsort(due.values[known], kind="stable")
    at, until = due.values[known][order], end.values[known][order]
    first = at[0] if len(at) else 0
    return (at - first) / NS_PER_S, (until - first) / NS_PER_S


def _mean_between(due: Floats, end: Floats, begin: float, until: float) -> float:
    """Time-weighted mean number of requests that are due and not complete."""
    inside = np.minimum(end, until) - np.maximum(due, begin)
    return float(np.clip(inside, 0, None).sum() / (until - begin))


def _users_held(evidence: Evidence) -> Verdict:
    """Users × latency / (latency + think time) requests in flight: the interactive response time law.

    Denning and Buzen, Computing Surveys 10, 1978. A conversation's think time comes before each
    of its turns, like a user's before each request.
    """
    held = evidence.summary.inflight
    latency_ms = evidence.summary.latency_ms.mean
    if latency_ms is None or held.achieved_time_weighted is None:
        message = "No request succeeded, or there is no time to look at."
        return verdict("concurrency_held", "unknown", None, None, message)
    think_ms = (evidence.load.think_s or evidence.workload.think_s) * NS_PER_S / NS_PER_MS
    expected = held.asked * latency_ms / (latency_ms + think_ms)
    tolerance = evidence.checks.inflight_tolerance * expected
    # users begin and end at the window's edges, in the middle of their cycles
    edge = held.asked * latency_ms / (2 * max(evidence.summary.wall_s, 1e-9) * 1000)
    least = expected - tolerance - edge
    message = (
        f"{held.asked} users with a pause of {think_ms / 1000:g} s had "
        f"{held.achieved_time_weighted:.2f} requests in flight on average, of {expected:.2f} that "
        "their latency allows"
    )
    if held.achieved_time_weighted < least:
        message = f"{message}: the client did not send them in time."
        return verdict("concurrency_held", "fail", held.achieved_time_weighted, least, message)
    if edge > tolerance:  # twice the tolerance would not have shown
        enough = math.ceil(len(evidence.table) * edge / tolerance)
        more = longer(enough, evidence.run, evidence.load, evidence.workload)
        message = f"{message}; that can't be told better in so short a run: {more}."
        return verdict("concurrency_held", "unknown", held.achieved_time_weighted, least, message)
    return verdict("concurrency_held", "pass", held.achieved_time_weighted, least, f"{message}.")
