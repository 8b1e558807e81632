"""Paired errors: what the client saw minus what the server did, request by request.

Definitions (issue: "the most accurate load generator there is"):

- TTFT error: the client's (first chunk − start) − the server's (send of the first token − kernel
  arrival of the request's last byte). It holds the way of the bytes, there and back: about 10 µs.
- gap error: the client's gap between consecutive chunks − the server's recorded gap.
- latency error: the client's (end − start) − the server's (last send − arrival).

With kernel times a chunk that is marked as merged has no arrival of its own, so what touches it
is left out, and its share stands beside. With user-space times nothing is left out: that is what
a client without kernel times would have reported.

A send that took the server longer than `records.UNSURE_NS` says that the server itself was held up in the
middle of it: its moment is not known, so it is no truth; what touches it is left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.records import Ints, Seen, Truth

NS_PER_MS = 1e6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """Signed errors in ms of the requests of the steady part."""

    ttft_ms: Floats
    gap_ms: Floats
    latency_ms: Floats
    requests: int
    chunks: int
    merged: int
    unsure: int  # chunks whose true moment the server does not know
    miscounted: int  # requests whose number of chunks is not the server's


@dataclass(frozen=True)
class Steady:
    """The steady part of a run: from the end of the first reply to the last request's arrival.

    So the burst in which all places start is out, and so is the emptying at the end.
    """

    begin_ns: int
    end_ns: int
    requests: int  # that arrived in it
    chunks: int  # content-bearing chunks that the server sent in it

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e9


def restrict(truth: Truth, ids: list[str]) -> NDArray[np.intp]:
    """Rows of the truth that belong to these request ids, in the order of `ids`.

    Raises `ValueError` for a request that the server never finished.
    """
    row_of = {request: row for row, request in enumerate(truth.ids)}
    missing = [request for request in ids if request not in row_of]
    if missing:
        raise ValueError(
            f"the server has no record of {len(missing)} requests, such as {missing[0]!r}"
        )
    return np.array([row_of[request] for request in ids], dtype=np.intp)


def steady(truth: Truth, rows: NDArray[np.intp] | None = None, skip: float = 0) -> Steady:
    """The steady part of a run, by the server's records. Raises `ValueError` when there is none.

    skip: share of it to leave out at its beginning, for clients that take long to get going.
    """
    taken = np.arange(len(truth.ids)) if rows is None else rows
    if not len(taken):
        raise ValueError("the server has no finished request")
    begin, end = int(truth.last_ns[taken].min()), int(truth.arrival_ns[taken].max())
    if end <= begin:
        raise ValueError("the run was too short: no request came after the first reply had ended")
    begin += int(skip * (end - begin))
    inside = (truth.arrival_ns[taken] > begin) & (truth.arrival_ns[taken] <= end)
    sent = np.concatenate([truth.chunk_ns[row] for row in taken])
    return Steady(begin, end, int(inside.sum()), int(((sent > begin) & (sent <= end)).sum()))


def achieved_inflight(truth: Truth, part: Steady, rows: NDArray[np.intp] | None = None) -> float:
    """Time-weighted mean of the requests outstanding at the server in the steady part.

    A request is outstanding from its arrival to its last send: the same yardstick for every client.
    """
    taken = np.arange(len(truth.ids)) if rows is None else rows
    begins = np.clip(truth.arrival_ns[taken], part.begin_ns, part.end_ns)
    ends = np.clip(truth.last_ns[taken], part.begin_ns, part.end_ns)
    return float((ends - begins).sum() / (part.end_ns - part.begin_ns))


def pair(truth: Truth, seen: Seen, *, user_space: bool = False) -> Errors:
    """Errors of the steady part; with `user_space` by the times at which the client read."""
    rows = restrict(truth, seen.ids)
    part = steady(truth, rows)
    ttft: list[float] = []
    latency: list[float] = []
    gaps: list[Ints] = []
    requests = chunks = merged = unsure = miscounted = 0
    for at, row in enumerate(rows):
        if truth.arrival_ns[row] <= part.begin_ns:
            continue
        requests += 1
        did = truth.chunk_ns[row]
        saw = (seen.chunk_user_ns if user_space else seen.chunk_ns)[at]
        if len(saw) != len(did):
            miscounted += 1
            continue
        sure = truth.chunk_sure[row]
        chunks += len(did)
        merged += int(seen.merged[at].sum())
        unsure += int((~sure).sum())
        known = sure if user_space else sure & ~seen.merged[at]
        start, arrival = seen.start_ns[at], truth.arrival_ns[row]
        if len(did) and known[0]:
            ttft.append((saw[0] - start) - (did[0] - arrival))
        if len(did) and sure[-1]:
            latency.append(_end(seen, at, user_space) - start - (truth.last_ns[row] - arrival))
        # with one send for several chunks their gaps are the server's zero, and known
        gaps.append((np.diff(saw) - np.diff(did))[known[1:] & known[:-1]])
    return Errors(
        ttft_ms=np.array(ttft) / NS_PER_MS,
        gap_ms=(np.concatenate(gaps) if gaps else np.array([], dtype=np.int64)) / NS_PER_MS,
        latency_ms=np.array(latency) / NS_PER_MS,
        requests=requests,
        chunks=chunks,
        merged=merged,
        unsure=unsure,
        miscounted=miscounted,
    )


def _end(seen: Seen, at: int, user_space: bool) -> int:
    return int(seen.end_user_ns[at] if user_space else seen.end_ns[at])


def percentiles(errors: Floats) -> dict[str, float]:
    """p50, p95 and p99 of the absolute errors; NaN when there are none."""
    if not len(errors):
        return {"p50": float("nan"), "p95": float("nan"), "p99": float("nan")}
    p50, p95, p99 = np.percentile(np.abs(errors), [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
