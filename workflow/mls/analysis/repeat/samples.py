"""The samples behind every distribution: one value a request, a gap or a chunk, in ms.

Definitions: docs/METHODS.md. Requests that failed have no sample in any of them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Bools, Floats, Ints64, floats, ints, lists, succeeded
from mls.core.run_result import Distribution
from mls.core.units import NS_PER_MS

PERCENTILES = (50, 90, 95, 99)

MOST_A_CHUNK = 1.25
"""Tokens a chunk, on average, up to which the first is taken to be of one token."""


def distribution(values: Floats) -> Distribution:
    """n, mean, sample standard deviation, extremes and percentiles (linear) of all values."""
    if not len(values):
        return Distribution(n=0)
    p50, p90, p95, p99 = (float(p) for p in np.percentile(values, PERCENTILES))
    return Distribution(
        n=len(values),
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if len(values) > 1 else None,
        min=float(values.min()),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        max=float(values.max()),
    )


def samples(table: pa.Table) -> dict[str, Floats]:
    """Samples of each distribution of `Summary`, by its name there (`loop_lag_ms`: of its client).

    table: schema `mls.core.record.REQUESTS`. Returns float64 arrays in ms, each in ascending
    order, in which percentiles are found quickly.
    """
    ok = succeeded(table)
    known = {name: v[ok & ~np.isnan(v)] for name, v in of_requests(table).items()}
    found = known | {"itl_ms": _itl(table, ok), "loop_lag_ms": _lag(table, ok)}
    return {name: np.sort(values) for name, values in found.items()}


def of_requests(table: pa.Table) -> dict[str, Floats]:
    """One value a request in ms, NaN where it is not known; of failed requests it means nothing."""
    start, end = ints(table, "start_ns"), ints(table, "end_ns")
    scheduled = ints(table, "scheduled_ns")
    latency = _gap(start, end)
    served = floats(table, "server_prompt_ms") + floats(table, "server_predicted_ms")
    return {
        "latency_ms": latency,
        "latency_from_scheduled_ms": _gap(scheduled, end),
        "ttft_ms": _ttft(table, start, end),
        "tpot_ms": _tpot(table),
        "lateness_ms": _gap(scheduled, start),
        "queue_ms": latency - served,
        "connect_ms": _gap(start, ints(table, "connected_ns")),
    }


def _gap(earlier: Ints64, later: Ints64) -> Floats:
    both = earlier.valid & later.valid
    return np.where(both, (later.values - earlier.values) / NS_PER_MS, np.nan)


def _ttft(table: pa.Table, start: Ints64, end: Ints64) -> Floats:
    """Unknown for several tokens in one piece that ends the response: a reply that wasn't streamed."""
    first, tokens = ints(table, "first_chunk_ns"), ints(table, "completion_tokens").values
    whole = (lists(table, "chunk_ns").lengths == 1) & (first.values == end.values) & (tokens > 1)
    return np.where(whole, np.nan, _gap(start, first))


def _tpot(table: pa.Table) -> Floats:
    """(last chunk − first) / (completion tokens − those of the first chunk), of replies in several chunks.

    Where the server doesn't say how many the first chunk had, it counts as one, and TPOT is unknown
    of replies with so many more tokens than chunks that this could be far off.
    """
    tokens, chunks = ints(table, "completion_tokens").values, lists(table, "chunk_ns").lengths
    first = ints(table, "first_chunk_tokens")
    later = tokens - np.where(first.valid, first.values, 1)
    sure = first.valid | (later <= MOST_A_CHUNK * (chunks - 1))
    gap = _gap(ints(table, "first_chunk_ns"), ints(table, "last_chunk_ns"))
    paced = (chunks >= 2) & (later >= 1) & sure
    return np.where(paced, gap / np.maximum(later, 1), np.nan)


def _itl(table: pa.Table, ok: Bools) -> Floats:
    """Gaps between neighbouring chunks of one request whose arrivals are both known."""
    chunks, merged = lists(table, "chunk_ns"), lists(table, "chunk_merged").values
    if len(chunks.values) < 2:
        return np.empty(0)
    owner = chunks.owner
    own_time = ok[owner] & ~merged
    known = (owner[1:] == owner[:-1]) & own_time[1:] & own_time[:-1]
    return np.diff(chunks.values)[known] / NS_PER_MS


def _lag(table: pa.Table, ok: Bools) -> Floats:
    lags = lists(table, "chunk_lag_ns")
    return lags.values[ok[lags.owner]] / NS_PER_MS
