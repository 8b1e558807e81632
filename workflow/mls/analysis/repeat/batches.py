"""The requests of the window in batches, so that neighbouring batches are nearly independent.

Requests of a full server begin together and end together, round after round. One by one they look
like a trend, although all requests of a round say no more than one of them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.checks.pace import keeps_full
from mls.analysis.repeat.columns import Bools, Floats, Ints, ints, succeeded
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.in_flight import Timeline, timeline

BATCHES = 12
"""The most batches. Disturbances of a host outlast a request, so more, narrower batches would be
alike."""

MOMENT = 0.5
"""Requests that begin within this many latencies of the first begin at one moment."""

FILLING = 0.05
"""Requests that begin at most this many latencies before the window count as in it."""


@dataclass(frozen=True)
class Batches:
    """Successful requests that lie entirely within the window, in the order of their starts.

    Starts and latencies are multiples of the median latency. In conversations a latency is a
    multiple of the median of its own turn, since later turns have longer prompts.
    """

    rows: Ints
    """Row of each request in the table."""
    starts: Floats
    """Start of each request since the begin of the window, ascending."""
    latency: Floats
    bounds: list[slice]
    """The requests of each batch."""

    @property
    def at(self) -> Floats:
        """Mean start of each batch."""
        return np.array([self.starts[batch].mean() for batch in self.bounds])

    @property
    def level(self) -> Floats:
        """Mean latency of each batch."""
        return np.array([self.latency[batch].mean() for batch in self.bounds])

    @property
    def requests(self) -> int:
        return sum(batch.stop - batch.start for batch in self.bounds)


def batches_of(evidence: Evidence) -> Batches:
    """The batches of one repeat's window, without requests that fill the server's cache."""
    over_time = evidence.over_time
    if over_time is None:
        is_full = keeps_full(evidence.load, evidence.workload)
        over_time = timeline(evidence.table, evidence.summary.inflight.asked if is_full else None)
    return batches(evidence.table, over_time, ~_fills_cache(evidence))


def batches(table: pa.Table, over_time: Timeline, selection: Bools | None = None) -> Batches:
    """The batches of the window; none without a window.

    over_time: the timeline of the table. selection: the requests to use, by default all.
    """
    start, end = ints(table, "start_ns"), ints(table, "end_ns")
    if over_time.window is None:
        return Batches(np.empty(0, np.int64), np.empty(0), np.empty(0), [])
    begin, stop = over_time.window
    complete = succeeded(table) & (end.values <= stop)
    fill_ns = (
        FILLING * float(np.median((end.values - start.values)[complete])) if complete.any() else 0.0
    )
    inside = np.flatnonzero(complete & (start.values >= begin - fill_ns))
    if selection is not None:
        inside = inside[selection[inside]]
    rows = inside[np.argsort(start.values[inside], kind="stable")]
    latency = (end.values - start.values)[rows].astype(np.float64)
    starts = (start.values[rows] - begin) / (np.median(latency) if len(latency) else 1)
    turn = ints(table, "turn").values[rows]
    for each in np.unique(turn):
        latency[turn == each] /= np.median(latency[turn == each])
    return Batches(rows, starts, latency, _bounds(starts))


def _fills_cache(evidence: Evidence) -> Bools:
    """Requests that began before their shared prefix can have been in the server's cache.

    These are the first request of each group, and all that began before its reply did.
    """
    table = evidence.table
    start, group = ints(table, "start_ns").values, ints(table, "prefix_group")
    first = np.zeros(len(start), np.bool_)
    if not evidence.run.cache_prompt or not group.valid.any():
        return first
    reply = ints(table, "first_chunk_ns")
    answer = np.where(reply.valid, reply.values, ints(table, "end_ns").values)
    for each in np.unique(group.values[group.valid]):
        own = np.flatnonzero(group.valid & (group.values == each))
        leader = own[start[own].argmin()]
        first[own] = start[own] <= max(answer[leader], start[leader])
    return first


def _bounds(starts: Floats) -> list[slice]:
    """The requests of each batch. starts: in latencies, ascending.

    A batch has all requests that begin at one moment, or at several moments where there are many. A
    moment at either end of the window with less than half the usual number of requests is left out:
    the first and the last in a queue are not like the others.
    """
    edges = [0] if len(starts) else []
    while edges and edges[-1] < len(starts):
        edges.append(int(np.searchsorted(starts, starts[edges[-1]] + MOMENT)))
    moments = list(itertools.pairwise(edges))
    usual = float(np.median(np.diff(edges))) if moments else 0.0
    for end in (0, -1):
        if moments and moments[end][1] - moments[end][0] < usual / 2:
            moments.pop(end)
    parts = np.array_split(np.arange(len(moments)), min(BATCHES, max(1, len(moments))))
    return [slice(moments[own[0]][0], moments[own[-1]][1]) for own in parts if len(own)]
