"""Requests in flight over time, and the steady window of a run, by a sweep line over the records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Ints, ints


@dataclass(frozen=True)
class InFlight:
    """A step function: `count[i]` requests were outstanding from `at_ns[i]` to `at_ns[i + 1]`.

    `at_ns` has no value twice; the last count is 0. Empty when no request was started.
    """

    at_ns: Ints
    count: Ints

    @property
    def max(self) -> int:
        return int(self.count.max(initial=0))

    def mean(self, begin_ns: int, end_ns: int) -> float:
        """Time-weighted mean over [begin, end], which must lie within it and not be empty."""
        edges = np.clip(np.append(self.at_ns, max(end_ns, int(self.at_ns[-1]))), begin_ns, end_ns)
        return float(np.dot(np.diff(edges), self.count) / (end_ns - begin_ns))


def in_flight(table: pa.Table) -> InFlight:
    """Outstanding requests, failed ones included: they held a place at the server, too."""
    start, end = ints(table, "start_ns"), ints(table, "end_ns")
    ran = start.valid & end.valid
    moments = np.concatenate([start.values[ran], end.values[ran]])
    steps = np.repeat(np.array([1, -1]), ran.sum())
    at, inverse = np.unique(moments, return_inverse=True)
    net = np.bincount(inverse, weights=steps, minlength=len(at)).astype(np.int64)
    return InFlight(at, np.cumsum(net))


def window(table: pa.Table, course: InFlight, places: int | None) -> tuple[int, int] | None:
    """The steady part in ns: from when all places are first full to the last request's start.

    places: how many there are; None for a load that doesn't keep them full (open loop, users who think):
    then it begins with the first request. None when the places were never all full, or no request
    was started after that.
    """
    full = np.flatnonzero(course.count >= (1 if places is None else places))
    if not len(full):
        return None
    start = ints(table, "start_ns")
    begin, end = int(course.at_ns[full[0]]), int(start.values[start.valid].max())
    return (begin, end) if end > begin else None


@dataclass(frozen=True)
class Timeline:
    """Of one repeat. window: begin and end in ns; None where it has none."""

    in_flight: InFlight
    window: tuple[int, int] | None


def timeline(table: pa.Table, places: int | None) -> Timeline:
    """places: see `window`."""
    course = in_flight(table)
    return Timeline(course, window(table, course, places))
