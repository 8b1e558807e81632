"""The samples behind every distribution: one value a request, a gap or a chunk, in ms.

docs/METHODS.md defines them. Failed requests have no sample in any of them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Bools, Floats, Ints64, floats, ints, lists, succeeded
from mls.core.summary import Distribution
from mls.core.units import NS_PER_MS
from mls.protocol.replies.reply import MOST_A_CHUNK

PERCENTILES = (50, 90, 95, 99)

LEAST_CERTAIN = 0.95
"""Share of the replies whose TPOT must be known for their mean to stand for all of them."""


def distribution(values: Floats) -> Distribution:
    """n, mean, sample standard deviation, extremes and percentiles (linear) of the values."""
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
    """Name of a distribution in `Summary` (`loop_lag_ms`: in its client) → its samples.

    table: schema `mls.core.record.REQUESTS`. The samples are float64 arrays in ms, in ascending
    order, which makes percentiles fast.
    """
    ok = succeeded(table)
    by_request = {name: v[ok & ~np.isnan(v)] for name, v in of_requests(table).items()}
    by_name = by_request | {"itl_ms": _itl(table, ok), "loop_lag_ms": _lag(table, ok)}
    return {name: np.sort(values) for name, values in by_name.items()}


def of_requests(table: pa.Table) -> dict[str, Floats]:
    """Name → one value a request in ms, NaN where unknown; meaningless for failed requests."""
    start, end = ints(table, "start_ns"), ints(table, "end_ns")
    scheduled = ints(table, "scheduled_ns")
    latency = _gap(start, end)
    server_ms = floats(table, "server_prompt_ms") + floats(table, "server_predicted_ms")
    tpot = _tpot(table)
    return {
        "latency_ms": latency,
        "latency_from_scheduled_ms": _gap(scheduled, end),
        "ttft_ms": _until(table, start, "first_chunk_ns"),
        "ttfa_ms": _until(table, start, "first_answer_ns"),
        "tool_call_ms": _until(table, start, "tool_call_ns"),
        "tpot_ms": tpot,
        **_tpot_of_kinds(table, known=~np.isnan(tpot)),
        "lateness_ms": _gap(scheduled, start),
        "queue_ms": latency - server_ms,
        "connect_ms": _gap(start, ints(table, "connected_ns")),
    }


def _gap(earlier: Ints64, later: Ints64) -> Floats:
    both = earlier.valid & later.valid
    return np.where(both, (later.values - earlier.values) / NS_PER_MS, np.nan)


def in_one_piece(table: pa.Table) -> Bools:
    """Replies of several tokens in one chunk, where most such replies are: they were not streamed.

    That their end came a moment later, such as `[DONE]`, makes no first token of the piece. Where
    most have several chunks, the server streams and had merged all of a reply before it was sent:
    its first token came with that chunk. Left out, such replies would leave the quicker ones.
    """
    pieces, streamed = _pieces(table), lists(table, "chunk_ns").lengths > 1
    ok = succeeded(table)
    return pieces & ((pieces & ok).sum() >= (streamed & ok).sum())


def _pieces(table: pa.Table) -> Bools:
    """Replies of several tokens in one chunk."""
    tokens = ints(table, "completion_tokens").values
    return (lists(table, "chunk_ns").lengths == 1) & (tokens > 1)


def _until(table: pa.Table, start: Ints64, chunk: str) -> Floats:
    """TTFT or TTFA in ms. It is unknown for all replies where most were not streamed."""
    gap = _gap(start, ints(table, chunk))
    return np.full(len(gap), np.nan) if in_one_piece(table).any() else gap


def _tpot(table: pa.Table) -> Floats:
    """(last chunk − first chunk) / (completion tokens − those of the first chunk), in ms.

    It is unknown for replies in one chunk. A first chunk without a count of tokens counts as one
    token. TPOT is then unknown for a reply with so many more tokens than chunks that this may be
    far off. It is unknown for all replies where it is so for more than a few of those that have
    several tokens.
    """
    tokens, chunks = ints(table, "completion_tokens").values, lists(table, "chunk_ns").lengths
    first = ints(table, "first_chunk_tokens")
    later = tokens - np.where(first.valid, first.values, 1)
    certain = first.valid | (later <= MOST_A_CHUNK * (chunks - 1))
    gap = _gap(ints(table, "first_chunk_ns"), ints(table, "last_chunk_ns"))
    paced = (chunks >= 2) & (later >= 1)
    ok = succeeded(table)
    if (paced & certain & ok).sum() < LEAST_CERTAIN * ((paced | _pieces(table)) & ok).sum():
        # What is left out are the replies whose chunks the server merged: no random sample
        return np.full(len(gap), np.nan)
    paced &= certain
    return np.where(paced, gap / np.maximum(later, 1), np.nan)


def _tpot_of_kinds(table: pa.Table, known: Bools) -> dict[str, Floats]:
    """TPOT in ms of the thought, to its last chunk, and of the answer, from there to the last chunk.

    Both are unknown for replies without text of reasoning, without an answer, or that think again
    after their answer began, and where tokens of reasoning are neither counted nor estimated by
    chunks of a token each. known: replies whose TPOT is.
    """
    tokens, first = (floats(table, f"{of}_tokens") for of in ("completion", "first_chunk"))
    counted = floats(table, "reasoning_tokens")
    even = tokens <= MOST_A_CHUNK * lists(table, "chunk_ns").lengths
    estimate = np.where(even, floats(table, "reasoning_tokens_estimate"), np.nan)
    thought = np.where(np.isnan(counted), estimate, counted)
    begin, end = ints(table, "first_chunk_ns"), ints(table, "last_chunk_ns")
    last, answer = ints(table, "last_reasoning_ns"), ints(table, "first_answer_ns")
    known = known & last.valid & answer.valid & (last.values <= answer.values)
    of_thought = thought - np.where(np.isnan(first), 1.0, first)
    paced = known & (ints(table, "reasoning_chunks").values >= 2)
    return {
        "reasoning_tpot_ms": _pace(_gap(begin, last), of_thought, paced),
        "answer_tpot_ms": _pace(_gap(last, end), tokens - thought, known),
    }


def _pace(gap: Floats, tokens: Floats, known: Bools) -> Floats:
    """ms a token. Fewer than one token have none."""
    return np.where(known & (tokens >= 1), gap / np.maximum(tokens, 1), np.nan)


def _itl(table: pa.Table, ok: Bools) -> Floats:
    """Gaps in ms between neighbouring chunks of one request, both with a known arrival."""
    chunks, merged = lists(table, "chunk_ns"), lists(table, "chunk_merged").values
    if len(chunks.values) < 2:
        return np.empty(0)
    owner = chunks.owner
    own_time = ok[owner] & ~merged
    pairs = (owner[1:] == owner[:-1]) & own_time[1:] & own_time[:-1]
    return np.diff(chunks.values)[pairs] / NS_PER_MS


def _lag(table: pa.Table, ok: Bools) -> Floats:
    lags = lists(table, "chunk_lag_ns")
    return lags.values[ok[lags.owner]] / NS_PER_MS
