"""Requests in flight over time, and the steady window of a run, by a sweep over the records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Ints, Ints64, ints


@dataclass(frozen=True)
class InFlight:
    """A step function: `count[i]` requests were outstanding from `at_ns[i]` to `at_ns[i + 1]`.

    `at_ns` ascends strictly. The last count is 0. Both are empty when no request was started.
    """

    at_ns: Ints
    count: Ints

    @property
    def max(self) -> int:
        return int(self.count.max(initial=0))

    def at(self, moments: Ints) -> Ints:
        """The count at each moment, in ns; 0 before the first step."""
        steps = np.searchsorted(self.at_ns, moments, side="right")
        return np.append(0, self.count)[steps]

    def mean(self, begin_ns: int, end_ns: int) -> float:
        """Time-weighted mean over [begin, end], a span of more than 0 ns within the steps."""
        edges = np.clip(np.append(self.at_ns, max(end_ns, int(self.at_ns[-1]))), begin_ns, end_ns)
        return float(np.dot(np.diff(edges), self.count) / (end_ns - begin_ns))


def in_flight(table: pa.Table) -> InFlight:
    """Outstanding requests. Failed ones count, since they held a place at the server, too."""
    return _overlap(ints(table, "start_ns"), ints(table, "end_ns"))


def being_answered(table: pa.Table) -> InFlight:
    """Requests from their first token to their end: those of outstanding ones that are served."""
    return _overlap(ints(table, "first_chunk_ns"), ints(table, "end_ns"))


def _overlap(start: Ints64, end: Ints64) -> InFlight:
    """The number of spans from start to end that hold each moment."""
    rows = start.valid & end.valid & (start.values <= end.values)
    moments = np.concatenate([start.values[rows], end.values[rows]])
    steps = np.repeat(np.array([1, -1]), rows.sum())
    at, inverse = np.unique(moments, return_inverse=True)
    net = np.bincount(inverse, weights=steps, minlength=len(at)).astype(np.int64)
    return InFlight(at, np.cumsum(net))


def window(table: pa.Table, course: InFlight, places: int | None) -> tuple[int, int] | None:
    """(begin, end) of the steady part in ns: from places being full to the last request's start.

    places: the number of places. It is None for a load that doesn't keep them full (open loop,
    users who think); the steady part then begins with the first request. The result is None when
    the places were never all full, or no request was started after that.
    """
    full = np.flatnonzero(course.count >= (1 if places is None else places))
    if not len(full):
        return None
    start = ints(table, "start_ns")
    begin, end = int(course.at_ns[full[0]]), int(start.values[start.valid].max())
    return (begin, end) if end > begin else None


@dataclass(frozen=True)
class Timeline:
    """The timeline of one repeat. window: begin and end in ns, None without a window."""

    in_flight: InFlight
    window: tuple[int, int] | None


def timeline(table: pa.Table, places: int | None) -> Timeline:
    """The timeline of a table. places: see `window`."""
    course = in_flight(table)
    return Timeline(course, window(table, course, places))
