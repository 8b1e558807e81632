"""A run's parts side by side: stages of a load, turns of conversations, shared prefixes, servers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Bools, Floats, ints, succeeded, total
from mls.analysis.repeat.samples import distribution, samples
from mls.core.run_result import Distribution
from mls.core.units import NS_PER_S

PARTS = ("stage", "turn", "prefix_group", "server")
"""Columns of the records that number a part, 0…"""


@dataclass(frozen=True)
class Part:
    """The requests of one stage, turn, prefix or server, of all repeats; `number` counts from 1, as people do.

    arrivals_per_s: of the requests' scheduled times, a mean over repeats; None for one request.
    completion_tokens_per_s: received, by wall time of all repeats; None where that isn't known.
    cached_tokens: mean over the requests whose server said; None when it never did.
    """

    number: int
    requests: int
    failed: int
    arrivals_per_s: float | None
    completion_tokens_per_s: float | None
    prompt_tokens: float | None
    cached_tokens: float | None
    ttft_ms: Distribution
    latency_ms: Distribution
    latency_from_scheduled_ms: Distribution
    lateness_ms: Distribution


def parts(tables: list[pa.Table], column: str) -> list[Part]:
    """The parts that a column of the records tells apart; none when it is empty.

    tables: of each repeat (schema `mls.core.record.REQUESTS`).
    """
    pooled = pa.concat_tables(tables)
    number = ints(pooled, column)
    found = np.unique(number.values[number.valid])
    return [_part(pooled, tables, column, int(value)) for value in found]


def _part(pooled: pa.Table, tables: list[pa.Table], column: str, value: int) -> Part:
    mine = pooled.filter(_is(pooled, column, value))
    ok = succeeded(mine)
    drawn = samples(mine)
    rates = [_rate(table.filter(_is(table, column, value))) for table in tables]
    known = [rate for rate in rates if rate is not None]
    return Part(
        number=value + 1,
        requests=len(ok),
        failed=int((~ok).sum()),
        arrivals_per_s=float(np.mean(known)) if known else None,
        completion_tokens_per_s=_token_rate(mine, tables),
        prompt_tokens=_mean(mine, "prompt_tokens"),
        cached_tokens=_mean(mine, "cached_tokens"),
        ttft_ms=distribution(drawn["ttft_ms"]),
        latency_ms=distribution(drawn["latency_ms"]),
        latency_from_scheduled_ms=distribution(drawn["latency_from_scheduled_ms"]),
        lateness_ms=distribution(drawn["lateness_ms"]),
    )


def _is(table: pa.Table, column: str, value: int) -> Bools:
    number = ints(table, column)
    return number.valid & (number.values == value)


def _rate(table: pa.Table) -> float | None:
    due = np.sort(ints(table, "scheduled_ns").values)
    if len(due) < 2 or due[-1] == due[0]:
        return None
    return float((len(due) - 1) * NS_PER_S / (due[-1] - due[0]))


def _token_rate(mine: pa.Table, tables: list[pa.Table]) -> float | None:
    wall_ns = sum(
        int(ints(table, "end_ns").values.max() - ints(table, "start_ns").values.min())
        for table in tables
        if table.num_rows
    )
    tokens = total(ints(mine, "completion_tokens"), succeeded(mine))
    return None if tokens is None or not wall_ns else tokens * NS_PER_S / wall_ns


def _mean(table: pa.Table, column: str) -> float | None:
    values = ints(table, column)
    told: Floats = values.values[values.valid & succeeded(table)].astype(np.float64)
    return float(told.mean()) if len(told) else None
