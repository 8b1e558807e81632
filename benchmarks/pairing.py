"""Paired errors: what the client saw minus what the server did, request by request.

Definitions:

- TTFT error: the client's (first chunk − start) − the server's (send of the first token − kernel
  arrival of the request's last byte). The way of the bytes there and back is in it: about 10 µs.
- gap error: the client's gap between consecutive chunks − the server's recorded gap.
- latency error: the client's (end − start) − the server's (last send − arrival).

By kernel times a merged chunk has no arrival of its own: errors that need it are left out, and
merged chunks are counted. By user-space times nothing is left out, as in the report of a client
without kernel times.

A `send()` of the server that took longer than `records.UNSURE_NS` was interrupted in the middle,
so its moment is unknown: errors that need it are left out, and its chunks are counted as unsure.
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

    It excludes the burst in which all places start, and the emptying at the end.
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

    skip: share to leave out at its beginning, for clients that take long to fill all places.
    """
    indices = np.arange(len(truth.ids)) if rows is None else rows
    if not len(indices):
        raise ValueError("the server has no finished request")
    begin, end = int(truth.last_ns[indices].min()), int(truth.arrival_ns[indices].max())
    if end <= begin:
        raise ValueError("the run was too short: no request came after the first reply had ended")
    begin += int(skip * (end - begin))
    inside = (truth.arrival_ns[indices] > begin) & (truth.arrival_ns[indices] <= end)
    chunk_ns = np.concatenate([truth.chunk_ns[row] for row in indices])
    return Steady(
        begin, end, int(inside.sum()), int(((chunk_ns > begin) & (chunk_ns <= end)).sum())
    )


def achieved_inflight(truth: Truth, part: Steady, rows: NDArray[np.intp] | None = None) -> float:
    """Time-weighted mean of the requests outstanding at the server in the steady part.

    A request is outstanding from its arrival to its last send: the same yardstick for every client.
    """
    indices = np.arange(len(truth.ids)) if rows is None else rows
    begins = np.clip(truth.arrival_ns[indices], part.begin_ns, part.end_ns)
    ends = np.clip(truth.last_ns[indices], part.begin_ns, part.end_ns)
    return float((ends - begins).sum() / (part.end_ns - part.begin_ns))


def pair(truth: Truth, client: Seen, *, user_space: bool = False) -> Errors:
    """Errors of the steady part; with `user_space` by the times at which the client read."""
    rows = restrict(truth, client.ids)
    part = steady(truth, rows)
    ttft: list[float] = []
    latency: list[float] = []
    gaps: list[Ints] = []
    requests = chunks = merged = unsure = miscounted = 0
    for at, row in enumerate(rows):
        if truth.arrival_ns[row] <= part.begin_ns:
            continue
        requests += 1
        server_ns = truth.chunk_ns[row]
        client_ns = (client.chunk_user_ns if user_space else client.chunk_ns)[at]
        if len(client_ns) != len(server_ns):
            miscounted += 1
            continue
        certain = truth.chunk_sure[row]
        chunks += len(server_ns)
        merged += int(client.merged[at].sum())
        unsure += int((~certain).sum())
        usable = certain if user_space else certain & ~client.merged[at]
        start, arrival = client.start_ns[at], truth.arrival_ns[row]
        if len(server_ns) and usable[0]:
            ttft.append((client_ns[0] - start) - (server_ns[0] - arrival))
        if len(server_ns) and certain[-1]:
            latency.append(_end(client, at, user_space) - start - (truth.last_ns[row] - arrival))
        # the gaps between chunks of one send are 0 at the server, and known
        gaps.append((np.diff(client_ns) - np.diff(server_ns))[usable[1:] & usable[:-1]])
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


def _end(client: Seen, at: int, user_space: bool) -> int:
    return int(client.end_user_ns[at] if user_space else client.end_ns[at])


def percentiles(errors: Floats) -> dict[str, float]:
    """p50, p95 and p99 of the absolute errors; NaN when there are none."""
    if not len(errors):
        return {"p50": float("nan"), "p95": float("nan"), "p99": float("nan")}
    p50, p95, p99 = np.percentile(np.abs(errors), [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
