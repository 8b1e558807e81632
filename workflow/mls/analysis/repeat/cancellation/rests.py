"""How far the replies to requests were when they ended, and what was left of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Floats, ints, lists, succeeded


@dataclass(frozen=True)
class Rests:
    """Tokens of each request's reply: those that had been generated at its end, and the rest."""

    generated: Floats
    rest: Floats


def rests(table: pa.Table, reply_tokens: int | None, tokens_per_chunk: float | None) -> Rests:
    """The rests of all replies.

    reply_tokens: the tokens of replies that are made to go on; None where they end by themselves,
    and the rest is the mean one of the complete replies that were longer. tokens_per_chunk: of
    the complete replies, None where unknown: then it is taken to be one. Of a chunk that was being
    filled half of the tokens are counted. Of a reply in one piece
    nothing is seen before its end: its tokens are spread evenly over the mean latency.
    """
    ok, tokens = succeeded(table), ints(table, "completion_tokens")
    complete = tokens.values[ok & tokens.valid].astype(np.float64)
    asked = ints(table, "completion_tokens_asked")
    typical = reply_tokens or (float(complete.mean()) if len(complete) else 0.0)
    whole = np.where(asked.valid, asked.values, typical).astype(np.float64)
    chunks = lists(table, "chunk_ns").lengths
    if (chunks > 1).any():
        size = tokens_per_chunk or 1.0
        # and half of the chunk that was being filled
        generated = (chunks * size + (size - 1) / 2).astype(np.float64)
    else:
        taken = ints(table, "end_ns").values - ints(table, "start_ns").values
        generated = whole * (taken / taken[ok].mean() if ok.any() else 0.0)
    if reply_tokens:
        generated = np.minimum(generated, whole)
        return Rests(generated, whole - generated)
    longer = [complete[complete > count] for count in generated]
    rest = [
        more.mean() - count if len(more) else 0.0
        for count, more in zip(generated, longer, strict=True)
    ]
    return Rests(generated, np.array(rest, np.float64))
