"""How long the slots of requests that were hung up on were not free, by who came next."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from mls.analysis.checks.student import quantile
from mls.analysis.repeat.cancellation.rests import Rests
from mls.analysis.repeat.columns import (
    Bools,
    Floats,
    Ints,
    cancelled,
    ints,
    lists,
    succeeded,
    successions,
)
from mls.core.summary import Freed
from mls.core.units import NS_PER_MS

_LEAST = 3
"""Requests after hang-ups, and after complete replies, that a difference is made of at least."""

_UPPER = 0.975
"""Probability below the upper bound of a 95 % interval."""


class Followers:
    """The requests that came next at the places of others, of a load that fills all slots."""

    def __init__(self, table: pa.Table, tokens: Rests) -> None:
        self._hung_up, self._ok = cancelled(table), succeeded(table)
        self._wait_ms, self._next = _waits(table)
        self._kept_ms = _kept_ms(table, tokens)

    def after(self, rows: Bools, reads_on: bool = False) -> Freed:
        """How much longer those after hang-ups among these rows waited than after complete replies.

        reads_on: whether the server may have a prompt to read to its end before it can stop, which
        is then no generation: as long as those after complete replies wait.
        """
        known = self._next >= 0
        rows = rows & self._hung_up & known
        waits, base = (self._wait_ms[self._next[r]] for r in (rows, self._ok & known))
        if min(len(waits), len(base)) < _LEAST:
            return Freed(n=len(waits))
        kept = self._kept_ms[rows]
        longer = waits - base.mean()
        low, high = _interval(longer, base, 1)
        freed = Freed(
            n=len(waits),
            freed_ms=float(longer.mean()),
            low_ms=low,
            high_ms=high,
            kept_ms=float(kept.mean()),
        )
        if kept.mean() > 0:
            # a ratio of means: its error is that of what one share of each rest leaves over
            parts = 2 if reads_on else 1
            over = waits - parts * base.mean()
            share = over.mean() / kept.mean()
            low, high = _interval(over - share * kept, base, parts)
            freed.share = float(share)
            freed.share_low, freed.share_high = (
                float(share + x / kept.mean()) for x in (low, high)
            )
        return freed


def _interval(values: Floats, base: Floats, times: int) -> tuple[float, float]:
    """Welch's 95 % interval of the mean of values that so many times the base's mean was taken from."""
    parts = np.array([values.var(ddof=1) / len(values), times**2 * base.var(ddof=1) / len(base)])
    mean = float(values.mean())
    if not parts.sum():
        return mean, mean
    freedom = parts.sum() ** 2 / (parts**2 / [len(values) - 1, len(base) - 1]).sum()
    half = quantile(_UPPER, max(1, math.floor(freedom))) * float(np.sqrt(parts.sum()))
    return mean - half, mean + half


def _waits(table: pa.Table) -> tuple[Floats, Ints]:
    """(time in ms from each request's connection to its first chunk, index of the request that
    follows at its place, −1 without one).

    Those that were to be hung up on don't count as followers: only the quick ones of them have a
    first chunk.
    """
    start, connected = ints(table, "start_ns"), ints(table, "connected_ns")
    first = ints(table, "first_chunk_ns")
    begin = np.where(connected.valid, connected.values, start.values)
    wait_ms = (first.values - begin) / NS_PER_MS
    usable = first.valid & succeeded(table) & ~ints(table, "cancel_after_ns").valid
    here, there = successions(table)
    follower = np.full(len(usable), -1)
    follower[here[usable[there]]] = there[usable[there]]
    return wait_ms, follower


def _kept_ms(table: pa.Table, tokens: Rests) -> Floats:
    """The wait in ms for a slot, had the server generated the rest of each reply.

    It ends with the rest, or with the next complete reply, whose slot is then taken instead.
    """
    ok, end = succeeded(table), ints(table, "end_ns").values
    first = ints(table, "first_chunk_ns").values
    in_chunks = lists(table, "chunk_ns").lengths > 1
    begin = np.where(in_chunks, first, ints(table, "start_ns").values)
    count = ints(table, "completion_tokens").values[ok].sum()
    pace_ns = (end - begin)[ok].sum() / count if count else 0.0
    ends = np.sort(end[ok])
    after = np.append(ends, np.iinfo(np.int64).max)[np.searchsorted(ends, end, side="right")]
    return np.minimum(tokens.rest * pace_ns, (after - end).astype(np.float64)) / NS_PER_MS
