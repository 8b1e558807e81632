"""The parts of a run: stages of a load, turns of conversations, shared prefixes, adapters, servers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Bools, Floats, cancelled, ints, succeeded, total
from mls.analysis.repeat.samples import distribution, samples
from mls.analysis.repeat.sessions.context import context
from mls.core.summary import Distribution
from mls.core.units import NS_PER_S

PARTS = ("stage", "turn", "prefix_group", "adapter", "server")
"""Columns of the records that number the parts from 0."""


@dataclass(frozen=True)
class Part:
    """The requests of one stage, turn, prefix, adapter or server, of all repeats.

    number: counts from 1, as people do. arrivals_per_s: rate of the scheduled times, a mean over
    repeats; None when no repeat has two. completion_tokens_per_s: tokens received over the wall
    time of all repeats; None when unknown. prompt_tokens, cached_tokens: means over the successful
    requests for which the server gives the count; None when there are none. anew_tokens: likewise, see
    `Context`.
    """

    number: int
    requests: int
    failed: int
    arrivals_per_s: float | None
    completion_tokens_per_s: float | None
    prompt_tokens: float | None
    cached_tokens: float | None
    anew_tokens: float | None
    ttft_ms: Distribution
    latency_ms: Distribution
    latency_from_scheduled_ms: Distribution
    lateness_ms: Distribution


def parts(tables: list[pa.Table], column: str, own_replies: bool = True) -> list[Part]:
    """The parts that a column of the records numbers; none when the column is empty.

    tables: the records of each repeat (schema `mls.core.record.REQUESTS`). own_replies: whether
    later turns of a conversation hold the server's own replies.
    """
    pooled = pa.concat_tables(tables)
    number = ints(pooled, column)
    values = np.unique(number.values[number.valid])
    if not len(values):
        return []
    contexts = [context(table, own_replies) for table in tables]
    anew = np.concatenate([each.anew for each in contexts])
    return [_part(pooled, anew, tables, column, int(value)) for value in values]


def _part(pooled: pa.Table, anew: Floats, tables: list[pa.Table], column: str, value: int) -> Part:
    own = _is(pooled, column, value)
    rows = pooled.filter(own)
    ok = succeeded(rows)
    distributions = samples(rows)
    rates = [_rate(table.filter(_is(table, column, value))) for table in tables]
    arrival_rates = [rate for rate in rates if rate is not None]
    return Part(
        number=value + 1,
        requests=len(ok),
        failed=int((~ok & ~cancelled(rows)).sum()),
        arrivals_per_s=float(np.mean(arrival_rates)) if arrival_rates else None,
        completion_tokens_per_s=_token_rate(rows, tables),
        prompt_tokens=_mean(rows, "prompt_tokens"),
        cached_tokens=_mean(rows, "cached_tokens"),
        anew_tokens=_mean_of_known(anew[own]),
        ttft_ms=distribution(distributions["ttft_ms"]),
        latency_ms=distribution(distributions["latency_ms"]),
        latency_from_scheduled_ms=distribution(distributions["latency_from_scheduled_ms"]),
        lateness_ms=distribution(distributions["lateness_ms"]),
    )


def _is(table: pa.Table, column: str, value: int) -> Bools:
    number = ints(table, column)
    return number.valid & (number.values == value)


def _rate(table: pa.Table) -> float | None:
    due = np.sort(ints(table, "scheduled_ns").values)
    if len(due) < 2 or due[-1] == due[0]:
        return None
    return float((len(due) - 1) * NS_PER_S / (due[-1] - due[0]))


def _token_rate(rows: pa.Table, tables: list[pa.Table]) -> float | None:
    wall_ns = sum(
        int(ints(table, "end_ns").values.max() - ints(table, "start_ns").values.min())
        for table in tables
        if table.num_rows
    )
    tokens = total(ints(rows, "completion_tokens"), succeeded(rows))
    return None if tokens is None or not wall_ns else tokens * NS_PER_S / wall_ns


def _mean(table: pa.Table, column: str) -> float | None:
    tokens = ints(table, column)
    counts: Floats = tokens.values[tokens.valid & succeeded(table)].astype(np.float64)
    return float(counts.mean()) if len(counts) else None


def _mean_of_known(tokens: Floats) -> float | None:
    known = tokens[~np.isnan(tokens)]
    return float(known.mean()) if len(known) else None
