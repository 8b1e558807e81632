"""Samples and courses for drawings, thinned without a visible loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Floats, ints, succeeded
from mls.analysis.repeat.in_flight import Timeline
from mls.analysis.repeat.samples import of_requests
from mls.core.units import NS_PER_S

CURVE_POINTS = 200
COURSE_POINTS = 300
DOTS = 200


@dataclass(frozen=True)
class Curve:
    """An empirical distribution function for drawing: a share `y` of the samples is at most `x`."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class Course:
    """Requests in flight over the time of one repeat in s: a step function, thinned for drawing."""

    repeat: int
    at_s: Floats
    count: Floats
    window_s: tuple[float, float] | None


@dataclass(frozen=True)
class Dots:
    """Requests of one repeat by their start in s, thinned for drawing. NaN stands for unknown."""

    at_s: Floats
    latency_ms: Floats
    ttft_ms: Floats
    of: int
    """Number of successful requests before thinning."""


def curve(values: Floats) -> Curve:
    """All samples when they are few, else evenly spaced quantiles, both extremes included."""
    ascending = np.sort(values, kind="stable")  # which merges repeats that are ordered already
    ranks = np.unique(
        np.linspace(0, max(len(ascending) - 1, 0), min(len(ascending), CURVE_POINTS)).round()
    )
    return Curve(ascending[ranks.astype(np.int64)], (ranks + 1) / max(len(ascending), 1))


def course(repeat: int, over_time: Timeline) -> Course | None:
    """Requests in flight over one repeat. None when no request was started."""
    in_flight, window = over_time.in_flight, over_time.window
    if not len(in_flight.at_ns):
        return None
    zero = int(in_flight.at_ns[0])
    at, count = (in_flight.at_ns - zero) / NS_PER_S, in_flight.count.astype(float)
    if len(at) > COURSE_POINTS:
        indices = _extremes(at, count, COURSE_POINTS // 2)
        at, count = at[indices], count[indices]
    seconds = ((window[0] - zero) / NS_PER_S, (window[1] - zero) / NS_PER_S) if window else None
    return Course(repeat, at, count, seconds)


def dots(table: pa.Table) -> Dots | None:
    """The successful requests of a table (schema `mls.core.record.REQUESTS`); None without any."""
    ok = succeeded(table)
    if not ok.any():
        return None
    start = ints(table, "start_ns").values
    order = np.flatnonzero(ok)[np.argsort(start[ok], kind="stable")]
    at = (start[order] - start[order[0]]) / NS_PER_S
    figures = of_requests(table)
    latency, ttft = figures["latency_ms"][order], figures["ttft_ms"][order]
    indices = list(range(len(order)))
    if len(indices) > DOTS:
        indices = _extremes(at, latency, DOTS // 2)
    return Dots(at[indices], latency[indices], ttft[indices], len(order))


def _extremes(at: Floats, count: Floats, bins: int) -> list[int]:
    """Indices of the least and the greatest value of each bin of time: thinning hides no dip."""
    edges = np.linspace(at[0], at[-1], bins + 1)
    groups = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, bins - 1)
    cuts = np.flatnonzero(np.diff(groups)) + 1
    indices: set[int] = {0, len(at) - 1}
    for part in np.split(np.arange(len(at)), cuts):
        indices |= {int(part[count[part].argmin()]), int(part[count[part].argmax()])}
    return sorted(indices)
