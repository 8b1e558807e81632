"""The requests of the window in batches, of which neighbours are as good as independent.

Requests of a full server begin together and end together, round after round: each by itself they
look like a trend, and all of a round tell no more than one of them.
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
"""At most. What disturbs a host lasts longer than a request: of narrower ones neighbours are alike."""

MOMENT = 0.5
"""Requests that begin within so many latencies of one another begin at one moment."""

FILLING = 0.05
"""Requests that begin at most so many latencies before all places are full are of the window, too."""


@dataclass(frozen=True)
class Batches:
    """Successful requests that lie whole within the window, by their start.

    Times and latencies are multiples of the median latency; in conversations the latency is one of
    its own turn's, since later turns have longer prompts.
    """

    rows: Ints
    """Each request's row in the table."""
    begun: Floats
    """Its start since the window's begin, ascending."""
    latency: Floats
    bounds: list[slice]
    """Requests of each batch."""

    @property
    def at(self) -> Floats:
        """Mean start of each batch."""
        return np.array([self.begun[batch].mean() for batch in self.bounds])

    @property
    def level(self) -> Floats:
        """Mean latency of each batch."""
        return np.array([self.latency[batch].mean() for batch in self.bounds])

    @property
    def requests(self) -> int:
        return sum(batch.stop - batch.start for batch in self.bounds)


def batches_of(evidence: Evidence) -> Batches:
    """The window's batches of one repeat, without requests that fill the server's cache."""
    over_time = evidence.over_time
    if over_time is None:
        keeps = keeps_full(evidence.load, evidence.workload)
        over_time = timeline(evidence.table, evidence.summary.inflight.asked if keeps else None)
    return batches(evidence.table, over_time, ~_fills_cache(evidence))


def batches(table: pa.Table, over_time: Timeline, chosen: Bools | None = None) -> Batches:
    """The window's batches, of the chosen requests; none without a window. over_time: of the table."""
    start, end = ints(table, "start_ns"), ints(table, "end_ns")
    if over_time.window is None:
        return Batches(np.empty(0, np.int64), np.empty(0), np.empty(0), [])
    begin, stop = over_time.window
    done = succeeded(table) & (end.values <= stop)
    filling = FILLING * float(np.median((end.values - start.values)[done])) if done.any() else 0.0
    inside = np.flatnonzero(done & (start.values >= begin - filling))
    if chosen is not None:
        inside = inside[chosen[inside]]
    rows = inside[np.argsort(start.values[inside], kind="stable")]
    latency = (end.values - start.values)[rows].astype(np.float64)
    begun = (start.values[rows] - begin) / (np.median(latency) if len(latency) else 1)
    turn = ints(table, "turn").values[rows]
    for each in np.unique(turn):
        latency[turn == each] /= np.median(latency[turn == each])
    return Batches(rows, begun, latency, _bounds(begun))


def _fills_cache(evidence: Evidence) -> Bools:
    """Requests that began before their shared prefix can have been in the server's cache.

    Of each group those are the first, and all that began before its reply did.
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


def _bounds(begun: Floats) -> list[slice]:
    """Requests of each batch. begun: ascending, in latencies.

    Requests that begin at one moment are a batch, or several such moments where there are many. Moments
    at either end of the window that hold less than half as many as usual are left out: the first
    in a queue and the last are not like the others.
    """
    edges = [0] if len(begun) else []
    while edges and edges[-1] < len(begun):
        edges.append(int(np.searchsorted(begun, begun[edges[-1]] + MOMENT)))
    moments = list(itertools.pairwise(edges))
    usual = float(np.median(np.diff(edges))) if moments else 0.0
    for end in (0, -1):
        if moments and moments[end][1] - moments[end][0] < usual / 2:
            moments.pop(end)
    parts = np.array_split(np.arange(len(moments)), min(BATCHES, max(1, len(moments))))
    return [slice(moments[own[0]][0], moments[own[-1]][1]) for own in parts if len(own)]
