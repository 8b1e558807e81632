"""Did the load go as planned: places that stay full, users who think, arrivals of an open loop?"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Floats, cancelled, ints, successions
from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.analysis.repeat.in_flight import in_flight, timeline
from mls.analysis.repeat.sessions.spans import at_places
from mls.analysis.sample_size import longer
from mls.config.sections.load import Load, think_time
from mls.config.sections.workload import Workload
from mls.core.run_result import Verdict
from mls.core.units import MS_PER_S, NS_PER_MS, NS_PER_S

_LEAST_REQUESTS = 8
_QUARTERS = 4
Z_MISS = 1.645
"""The standard normal distribution exceeds this with probability `MISS`."""


def keeps_full(load: Load, workload: Workload) -> bool:
    """Whether all places are always taken: a closed loop without pauses."""
    return not load.open and not workload.file_pauses and think_time(load, workload).never


def cap_reached(evidence: Evidence) -> bool:
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


def _held_after_done(evidence: Evidence, empty_share: float) -> str | None:
    """A clause for connections that the server holds after `[DONE]`, where these make up most of
    the time in which places were empty."""
    records = evidence.table
    held_ns = ints(records, "after_done_ns").values.sum()
    latency_ns = (ints(records, "end_ns").values - ints(records, "start_ns").values).sum()
    if held_ns < empty_share / 2 * (held_ns + latency_ns):
        return None
    return (
        f": the server held each connection for {held_ns / len(records) / NS_PER_MS:.3g} ms on "
        "average after the end of its reply ([DONE]), in which its place could send nothing"
    )


def _places_held(evidence: Evidence) -> Verdict:
    inflight, requests = evidence.summary.inflight, evidence.summary.requests.total
    failed = evidence.summary.requests.error
    least = inflight.asked * (1 - evidence.checks.inflight_tolerance)
    if inflight.max < inflight.asked:
        few = (
            f"; with only {requests} requests there can't be more"
            if requests <= inflight.max
            else ""
        )
        message = (
            f"{inflight.asked} requests in flight were asked for, but there were never more than "
            f"{inflight.max}{few}: these figures are not those of inflight {inflight.asked}."
        )
        return verdict("concurrency_held", "fail", inflight.achieved_littles_law, least, message)
    if inflight.achieved_time_weighted is None:
        message = (
            f"{inflight.asked} requests were in flight at once, but no further request was started "
            "after that, so there is no steady window: send more requests to measure rates."
        )
        return verdict("concurrency_held", "warn", inflight.achieved_littles_law, least, message)
    enough = inflight.achieved_time_weighted >= least
    why = (
        f", as {failed} of {requests} failed: a failed request leaves its place until the next is due"
        if failed
        else _held_after_done(evidence, 1 - inflight.achieved_time_weighted / inflight.asked)
        or ": the client did not keep the server busy"
    )
    message = (
        f"In the window {inflight.achieved_time_weighted:.2f} of {inflight.asked} requests "
        f"were in flight on average{'' if enough else why}."
    )
    status: Status = "pass" if enough else "fail"
    return verdict("concurrency_held", status, inflight.achieved_time_weighted, least, message)


def _server_kept_up(evidence: Evidence) -> Verdict:
    """Whether the backlog grows while requests arrive.

    The backlog is the mean number of requests that are due and not complete. Its value in the
    second quarter of the arrivals' time is compared with that in the last. A server that completes
    μ of λ offered requests falls behind by 1 − μ/λ of the arrivals between the two. The queue of a
    server that keeps up varies by about the square root of these arrivals, times the coefficient of
    variation of their gaps. Where the rate is meant to change, a backlog in proportion to the rate
    is no growth (Little's law at an unchanged latency).
    """
    threshold = evidence.checks.queue_growth
    due, end = _course(evidence)
    if len(due) < _LEAST_REQUESTS or due[-1] == 0:
        message = f"Too few arrivals ({len(due)}) to tell whether the server keeps up with them."
        return verdict("server_kept_up", "unknown", None, threshold, message)
    edges = due[-1] * np.arange(_QUARTERS + 1) / _QUARTERS
    arrivals = np.histogram(due, edges)[0]
    backlog = [_mean_between(due, end, a, b) for a, b in itertools.pairwise(edges)]
    if not arrivals[1] or not arrivals[-1]:
        message = "Arrivals are too far apart to tell whether the server keeps up with them."
        return verdict("server_kept_up", "unknown", None, threshold, message)
    rate_ratio = arrivals[-1] / arrivals[1] if evidence.load.changing else 1.0
    fill_s = float((end - due)[due <= edges[1]].min())
    if edges[1] < fill_s:
        requests = math.ceil(2 * len(due) * fill_s / edges[1])
        more = longer(requests, evidence)
        message = (
            f"Requests arrived for {due[-1]:.3g} s only, which at their latency is hardly more than "
            f"filling the server takes: {more}."
        )
        return verdict("server_kept_up", "unknown", None, threshold, message)
    growth = backlog[-1] - backlog[1] * rate_ratio
    middle = (edges[1:] + edges[:-1]) / 2
    between = int(((due > middle[1]) & (due <= middle[-1])).sum())
    gaps = np.diff(due)
    noise = 2 * max(1.0, float(gaps.std() / gaps.mean()) * between**0.5)
    share = float(growth / max(between, 1))
    grows = share > threshold and growth > noise
    rate = (len(due) - 1) / due[-1]
    incomplete = evidence.summary.requests.errors.get("unfinished", 0)
    note = f" {incomplete} requests were not complete at the end." if incomplete else ""
    if grows:
        message = (
            f"The queue grew: at {rate:.3g} requests/s the server fell behind by {share:.0%} of what "
            f"arrived, from {backlog[1]:.3g} to {backlog[-1]:.3g} requests due and not complete; "
            f"these latencies depend on how long the run was.{note}"
        )
        return verdict("server_kept_up", "fail", share, threshold, message)
    if incomplete:
        message = f"The server kept up with {rate:.3g} requests/s.{note}"
        return verdict("server_kept_up", "warn", share, threshold, message)
    behind = _most_behind(due, end)
    if share > threshold or behind >= 2 * threshold:
        more = longer(_arrivals(len(due), behind, threshold), evidence)
        message = (
            f"{len(due)} arrivals can't tell whether the server kept up with {rate:.3g} requests/s, "
            f"or fell behind by {behind:.0%} of them: {more}."
        )
        return verdict("server_kept_up", "unknown", share, threshold, message)
    message = (
        f"The server kept up with {rate:.3g} requests/s: had it fallen behind by "
        f"{2 * threshold:.0%} of what arrived, it would have shown."
    )
    return verdict("server_kept_up", "pass", share, threshold, message)


def _most_behind(due: Floats, end: Floats) -> float:
    """The largest share of the arrivals by which the server may have fallen behind.

    It is made of the requests that are due and not complete when the last one arrives, and of those
    that a busy server may have completed by luck, by the scatter of latencies (a renewal process).
    """
    last = due[-1]
    backlog = int((end > last).sum())
    latency = end - due
    luck = float(latency.std() / latency.mean()) * len(due) ** 0.5
    return float((backlog + Z_MISS * luck) / len(due))


def _arrivals(count: int, behind: float, threshold: float) -> int:
    """About how many arrivals would tell: the rest stays the same, and luck grows with the root."""
    return math.ceil(count * max(1.5, (behind / threshold) ** 1.5))


def _course(evidence: Evidence) -> tuple[Floats, Floats]:
    """(due, end) of all requests, in s since the first was due and in the order of being due."""
    due, end = ints(evidence.table, "scheduled_ns"), ints(evidence.table, "end_ns")
    rows = due.valid & end.valid
    order = np.argsort(due.values[rows], kind="stable")
    at, until = due.values[rows][order], end.values[rows][order]
    first = at[0] if len(at) else 0
    return (at - first) / NS_PER_S, (until - first) / NS_PER_S


def _mean_between(due: Floats, end: Floats, begin: float, until: float) -> float:
    """Time-weighted mean number of requests that are due and not complete."""
    inside = np.minimum(end, until) - np.maximum(due, begin)
    return float(np.clip(inside, 0, None).sum() / (until - begin))


def _mean_pause_ms(evidence: Evidence, table: pa.Table) -> float:
    """The mean pause of the config, or, where pauses are drawn or a file's, of these themselves.

    The latter is from the end of a place's request until its next one was due. Both are without the
    client's delay, which the check is about. table: see `at_places`.
    """
    think = think_time(evidence.load, evidence.workload)
    if think.value is not None and not evidence.workload.file_pauses:
        return think.value * MS_PER_S
    due, end = (ints(table, name).values for name in ("scheduled_ns", "end_ns"))
    free = end + ints(table, "after_done_ns").values
    here, there = successions(table)
    # of a branch's request that starts late, another branch may have ended after it was due
    pauses = np.maximum(due[there] - free[here], 0)
    return float(pauses.mean() / NS_PER_MS) if len(pauses) else 0.0


def _users_held(evidence: Evidence) -> Verdict:
    """Whether requests in flight are users × latency / (latency + think time).

    That is the interactive response time law (Denning and Buzen, Computing Surveys 10, 1978). The
    think time of a conversation comes before each turn, like a user's before each request. Users for
    whom no conversation is left, while others are still at theirs, are none. Requests of a
    conversation's branches that are in flight at once count as one.
    """
    inflight, table = evidence.summary.inflight, at_places(evidence.table)
    latency_ms, achieved = _mean_in_flight_ms(evidence), inflight.achieved_time_weighted
    if latency_ms is None or achieved is None:
        message = "No request succeeded, or there is no time to look at."
        return verdict("concurrency_held", "unknown", None, None, message)
    requests = "requests"
    if table is not evidence.table:
        latency_ms, achieved = _spans_in_flight(evidence, table)
        requests = "conversations with requests"
    think_ms = _mean_pause_ms(evidence, table)
    users = _mean_users(table, inflight.asked)
    nominal = users * latency_ms / (latency_ms + think_ms)
    tolerance = evidence.checks.inflight_tolerance * nominal
    # users begin and end at the window's edges, in the middle of their cycles
    edge = inflight.asked * latency_ms / (2 * max(evidence.summary.wall_s, 1e-9) * 1000)
    least = nominal - tolerance - edge
    left = (
        f" ({users:.2f} on average, as conversations ran out)"
        if users < inflight.asked * (1 - evidence.checks.inflight_tolerance)
        else ""
    )
    message = (
        f"{inflight.asked} users{left} with a pause of {think_ms / 1000:.3g} s had "
        f"{achieved:.2f} {requests} in flight on average, of {nominal:.2f} that "
        "their latency allows"
    )
    if achieved < least:
        message = f"{message}: the client did not send them in time."
        return verdict("concurrency_held", "fail", achieved, least, message)
    if edge > tolerance:  # twice the tolerance would not have shown
        enough = math.ceil(len(evidence.table) * edge / tolerance)
        more = longer(enough, evidence)
        message = f"{message}; that can't be told better in so short a run: {more}."
        return verdict("concurrency_held", "unknown", achieved, least, message)
    return verdict("concurrency_held", "pass", achieved, least, f"{message}.")


def _spans_in_flight(evidence: Evidence, table: pa.Table) -> tuple[float, float]:
    """(mean length in ms, mean number at once in the window) of the spans of `at_places`."""
    over_time = evidence.over_time or timeline(evidence.table, None)
    assert over_time.window is not None  # there are requests in flight over time
    start, end = (ints(table, name).values for name in ("start_ns", "end_ns"))
    return float((end - start).mean() / NS_PER_MS), in_flight(table).mean(*over_time.window)


def _mean_users(table: pa.Table, asked: int) -> float:
    """The mean number of users from the first start to the last.

    A user is none from the end of the last conversation on if no other one was begun after that.
    """
    start, turn = ints(table, "start_ns").values, ints(table, "turn")
    begun = start[~turn.valid | (turn.values == 0)]
    first, last = start.min(), start.max()
    if not len(begun) or last <= begun.max():
        return float(asked)
    ends = ints(
        table.group_by(["rank", "slot"]).aggregate([("end_ns", "max")]), "end_ns_max"
    ).values
    idle_ns = np.clip(last - np.maximum(ends, begun.max()), 0, None).sum()
    return asked - float(idle_ns / (last - first))


def _mean_in_flight_ms(evidence: Evidence) -> float | None:
    """Mean latency in ms; of requests that were cancelled the time until then."""
    mean_ms, requests = evidence.summary.latency_ms.mean, evidence.summary.requests
    if mean_ms is None or not requests.cancelled:
        return mean_ms
    start, end = (ints(evidence.table, name).values for name in ("start_ns", "end_ns"))
    until_ms = (end - start)[cancelled(evidence.table)].sum() / NS_PER_MS
    return float(mean_ms * requests.ok + until_ms) / (requests.ok + requests.cancelled)
