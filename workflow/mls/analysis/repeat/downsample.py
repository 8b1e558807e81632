"""What drawings are made from: samples and courses, thinned so that nothing that can be seen is lost."""

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
    """An empirical distribution function, thinned for drawing: share `y` of samples is at most `x`."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class Course:
    """Requests in flight over the time of one repeat in s, thinned for drawing; a step function."""

    repeat: int
    at_s: Floats
    count: Floats
    window_s: tuple[float, float] | None


@dataclass(frozen=True)
class Dots:
    """Requests of one repeat by their start in s, thinned for drawing; NaN: not known."""

    at_s: Floats
    latency_ms: Floats
    ttft_ms: Floats
    of: int
    """Number of successful requests before thinning."""


def curve(values: Floats) -> Curve:
    """Every sample when there are few, else evenly spaced quantiles from the least to the greatest."""
    ordered = np.sort(values, kind="stable")  # which merges repeats that are ordered already
    rank = np.unique(
        np.linspace(0, max(len(ordered) - 1, 0), min(len(ordered), CURVE_POINTS)).round()
    )
    return Curve(ordered[rank.astype(np.int64)], (rank + 1) / max(len(ordered), 1))


def course(repeat: int, over_time: Timeline) -> Course | None:
    """None when no request was started."""
    full, steady = over_time.in_flight, over_time.window
    if not len(full.at_ns):
        return None
    zero = int(full.at_ns[0])
    at, count = (full.at_ns - zero) / NS_PER_S, full.count.astype(float)
    if len(at) > COURSE_POINTS:
        keep = _extremes(at, count, COURSE_POINTS // 2)
        at, count = at[keep], count[keep]
    seconds = ((steady[0] - zero) / NS_PER_S, (steady[1] - zero) / NS_PER_S) if steady else None
    return Course(repeat, at, count, seconds)


def dots(table: pa.Table) -> Dots | None:
    """table: schema `mls.core.record.REQUESTS`. None when no request succeeded."""
    ok = succeeded(table)
    if not ok.any():
        return None
    start = ints(table, "start_ns").values
    order = np.flatnonzero(ok)[np.argsort(start[ok], kind="stable")]
    at = (start[order] - start[order[0]]) / NS_PER_S
    figures = of_requests(table)
    latency, ttft = figures["latency_ms"][order], figures["ttft_ms"][order]
    keep = list(range(len(order)))
    if len(keep) > DOTS:
        keep = _extremes(at, latency, DOTS // 2)
    return Dots(at[keep], latency[keep], ttft[keep], len(order))


def _extremes(at: Floats, count: Floats, bins: int) -> list[int]:
    """Least and greatest value of each stretch of time, so that thinning hides no dip."""
    edges = np.linspace(at[0], at[-1], bins + 1)
    groups = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, bins - 1)
    cuts = np.flatnonzero(np.diff(groups)) + 1
    kept: set[int] = {0, len(at) - 1}
    for part in np.split(np.arange(len(at)), cuts):
        kept |= {int(part[count[part].argmin()]), int(part[count[part].argmax()])}
    return sorted(kept)
