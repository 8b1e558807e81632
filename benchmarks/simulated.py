"""Records of simulated runs, whose faults are known, with the scatter of recorded ones.

Recorded latencies are taken in blocks of whole rounds, drawn at random with replacement. Requests
of a round stay together, and only a planted fault changes anything in the long run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mls.core.record import REQUESTS
from mls.core.units import NS_PER_S

SCATTER = Path(__file__).with_name("scatter.csv")
BLOCK_ROUNDS = 4
TOKENS, PROMPT = 16, 60
TTFT_SHARE = 0.3
LATE_S = 0.0002
"""From the moment a place is free to its next start, on the embedded engine."""

Floats = NDArray[np.float64]
Pace = Callable[[Floats], Floats]
"""Progress of a run, 0 to 1 → how many times longer a request takes that begins then."""


def recorded(results: Path | None) -> dict[int, Floats]:
    """Inflight → latencies in the order of their starts, over their median.

    results: a folder of results, of cells that differ in `inflight`; None: the committed ones.
    """
    if results is None:
        rows = pd.read_csv(SCATTER)
    else:
        rows = pd.concat([_of_repeat(path) for path in sorted(results.rglob("requests.parquet"))])
    groups = rows.groupby("inflight")["latency_ms"]
    return {int(inflight): (x / x.median()).to_numpy() for inflight, x in groups}


def _of_repeat(path: Path) -> pd.DataFrame:
    """The latencies of one repeat, the first round left out."""
    table = pq.read_table(path, columns=["start_ns", "end_ns"]).to_pandas().sort_values("start_ns")
    inflight = int(next(p for p in path.parts if p.startswith("inflight~")).split("~")[1])
    latency = (table["end_ns"] - table["start_ns"]) / 1e6
    return pd.DataFrame({"inflight": inflight, "latency_ms": latency.round(3)})[inflight:]


def scatter(
    source: dict[int, Floats], inflight: int, requests: int, rng: np.random.Generator
) -> Floats:
    """Latencies about 1 of so many requests, from recorded rounds at the nearest inflight."""
    near = min(source, key=lambda candidate: abs(np.log(candidate / inflight)))
    series = source[near]
    size = min(BLOCK_ROUNDS * near, len(series))
    starts = rng.integers(0, (len(series) - size) // near + 1, -(-requests // size)) * near
    return np.concatenate([series[at : at + size] for at in starts])[:requests]


def closed_loop(
    latency: Floats, inflight: int, pace: Pace = np.ones_like, late: float = 0.0, idle: float = 0.0
) -> pa.Table:
    """Records of a closed loop (schema `REQUESTS`). latency: in s, in the order of starts.

    late, idle: how long a place waits for its next request, as shares of the mean latency; `late`
    is in the record as lateness, `idle` is not.
    """
    requests, mean = len(latency), float(latency.mean())
    free = np.zeros(inflight)
    scheduled, start, end = np.empty((3, requests))
    durations = latency * pace(np.arange(requests) / max(1, requests - 1))
    slot = np.empty(requests, np.int64)
    for job in range(requests):
        place = slot[job] = free.argmin()
        scheduled[job] = free[place] + idle * mean * (job >= inflight)
        start[job] = scheduled[job] + LATE_S + late * mean * (job >= inflight)
        end[job] = free[place] = start[job] + durations[job]
    return records(scheduled, start, end, slot=slot)


def open_loop(due: Floats, service: Floats, slots: int) -> pa.Table:
    """Records of arrivals at a server that serves `slots` requests at once, in order of arrival."""
    free = np.zeros(slots)
    end = np.empty(len(due))
    for job, at in enumerate(due):
        slot = free.argmin()
        end[job] = free[slot] = max(at, free[slot]) + service[job]
    return records(due, due + LATE_S, np.maximum(end, due + 2 * LATE_S))


def records(scheduled: Floats, start: Floats, end: Floats, **columns: NDArray) -> pa.Table:
    """A table with the columns of `REQUESTS`. Times in s; each reply came in two chunks."""
    count = len(start)
    start_ns, end_ns = _ns(start), _ns(end)
    first_ns = start_ns + ((end_ns - start_ns) * TTFT_SHARE).astype(np.int64)
    chunks = pa.array(list(np.stack([first_ns, end_ns], axis=1)), pa.list_(pa.int64()))
    values = {
        "request_id": [str(job) for job in range(count)],
        "job": np.arange(count),
        "rank": np.ones(count, np.int32),
        "scheduled_ns": _ns(scheduled),
        "start_ns": start_ns,
        "first_chunk_ns": first_ns,
        "last_chunk_ns": end_ns,
        "end_ns": end_ns,
        "chunk_ns": chunks,
        "chunk_lag_ns": pa.array([[40_000, 40_000]] * count, pa.list_(pa.int64())),
        "chunk_merged": pa.array([[False, False]] * count, pa.list_(pa.bool_())),
        "chunks": np.full(count, 2),
        "prompt_tokens": np.full(count, PROMPT),
        "completion_tokens": np.full(count, TOKENS),
        "cached_tokens": np.zeros(count, np.int64),
        "status": np.full(count, 200),
        "attempts": np.ones(count, np.int64),
        "reconnects": np.zeros(count, np.int64),
        "finish_reason": ["length"] * count,
        "server_prompt_ms": (first_ns - start_ns) * 0.99 / 1e6,
        "server_predicted_ms": (end_ns - first_ns) * 0.99 / 1e6,
    } | columns
    return pa.table(
        {
            field.name: pa.array(values[field.name]).cast(field.type)
            if field.name in values
            else pa.nulls(count, field.type)
            for field in REQUESTS
        },
        schema=REQUESTS,
    )


def with_column(table: pa.Table, name: str, values: object) -> pa.Table:
    """The records with other values in one column."""
    place = table.schema.get_field_index(name)
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array(values).cast(field.type))


def _ns(seconds: Floats) -> NDArray[np.int64]:
    return ((seconds + 1) * NS_PER_S).round().astype(np.int64)
