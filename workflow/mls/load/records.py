"""Tables of request records, made of exchanges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mls.config.sections.replies import ThinkTags
from mls.core.record import CANARY_COLUMNS, REQUESTS
from mls.gpu.device import PostResult
from mls.load.canaries.known import Canaries
from mls.load.replies import parse
from mls.load.soundness.figures import figures_of
from mls.load.soundness.form import Forms
from mls.load.transport.exchange import Exchange
from mls.load.transport.unframe import unframe
from mls.protocol.address import redirection
from mls.protocol.replies.reply import Reply
from mls.protocol.request import RequestBuilder
from mls.protocol.values import count

_MOST_CHUNKS = 50_000
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_CANARY = dict.fromkeys(CANARY_COLUMNS)

Columns = dict[str, list[Any]]


def _same(time_ns: int) -> int:
    return time_ns


def records(
    exchanges: Iterable[Exchange],
    builder: RequestBuilder,
    *,
    rank: int,
    keep_output: bool,
    to_rank0: Callable[[int], int] = _same,
    post_results: Mapping[int, PostResult] | None = None,
    stages: NDArray[np.int64] | None = None,
    canaries: Canaries | None = None,
    think_tags: ThinkTags = "none",
    ideal_hits: Callable[[int], int] | None = None,
) -> Iterator[pa.Table]:
    """Tables (schema `REQUESTS`) of a rank's exchanges, in their order; at least one.

    builder: the builder of their requests. to_rank0: converts a time in ns of this rank's clock to
    rank 0's. post_results: job → result of the reply's post-processing. stages: the number of each
    job's stage, None when the load has no stages. canaries: of the load. think_tags: of
    thoughts in replies' texts. ideal_hits: job → prompt tokens that an ideal cache has. A table ends with the request that brings it to 50,000 chunks: while
    it is made, each chunk takes a hundred bytes.
    """
    columns = _no_rows()
    forms = Forms(builder.asked)
    chunks = 0
    for exchange in exchanges:
        if chunks >= _MOST_CHUNKS:
            yield pa.table(columns, schema=REQUESTS)
            columns, chunks = _no_rows(), 0
        if exchange.reads:
            unframe(exchange)
        if exchange.location and exchange.status in _REDIRECTS and exchange.error is None:
            exchange.error = f"http_{exchange.status}"
            exchange.error_text = redirection(builder.url(exchange.server), exchange.location)
        attributes = builder.attributes(exchange.job)
        reply = parse(exchange, builder.secret, think_tags, attributes.output_tokens)
        row = _row(exchange, reply, rank, keep_output, to_rank0)
        row |= figures_of(reply, builder.opening(exchange.job), forms)
        row |= canaries.columns(exchange.job, reply) if canaries else _NO_CANARY
        row["request_id"] = builder.request_id(exchange.job)
        row["prompt_sha256"] = builder.prompt_sha256(exchange.job)
        post = (post_results or {}).get(exchange.job)
        row["post_ms"] = post and post.total_ms
        row["post_copy_ms"] = post and post.copy_ms
        row["post_kernel_ms"] = post and post.kernel_ms
        row["prompt_tokens_asked"] = attributes.prompt_tokens
        row["completion_tokens_asked"] = attributes.output_tokens
        row["session"], row["turn"] = attributes.session, attributes.turn
        row["branch"], row["previous_job"] = attributes.branch, attributes.previous
        row["prefix_group"] = attributes.group
        row["category"] = attributes.category
        row["media_parts"] = attributes.media_parts
        row["media_bytes"] = attributes.media_bytes
        row["adapter"] = builder.adapter(exchange.job)
        row["ideal_cached_tokens"] = ideal_hits(exchange.job) if ideal_hits else None
        row["stage"] = int(stages[exchange.job]) if stages is not None else None
        for name, values in columns.items():
            values.append(row[name])
        chunks += row["chunks"]
    yield pa.table(columns, schema=REQUESTS)


def _no_rows() -> Columns:
    return {name: [] for name in REQUESTS.names}


def _row(
    exchange: Exchange, reply: Reply, rank: int, keep_output: bool, to_rank0: Callable[[int], int]
) -> dict[str, Any]:
    reads = reply.chunk_reads
    arrivals_ns, reads_ns = exchange.arrived_ns, exchange.read_ns
    chunk_ns = [to_rank0(arrivals_ns[i]) for i in reads]
    end_ns, after_done_ns = _end(exchange, reply)

    def shifted(time_ns: int) -> int | None:
        return to_rank0(time_ns) if time_ns else None

    return {
        "job": exchange.job,
        "rank": rank,
        "slot": exchange.slot,
        "scheduled_ns": shifted(exchange.scheduled_ns),
        "server": exchange.server,
        "start_ns": shifted(exchange.start_ns),
        "connected_ns": shifted(exchange.connected_ns),
        "first_chunk_ns": chunk_ns[0] if chunk_ns else None,
        "last_chunk_ns": chunk_ns[-1] if chunk_ns else None,
        "end_ns": shifted(end_ns),
        "after_done_ns": after_done_ns,
        "first_answer_ns": None if reply.first_answer is None else chunk_ns[reply.first_answer],
        "last_reasoning_ns": chunk_ns[max(reply.reasoning)] if reply.reasoning else None,
        "tool_call_ns": chunk_ns[max(reply.call_chunks)] if reply.calls_whole else None,
        "chunk_ns": chunk_ns,
        "chunk_lag_ns": [reads_ns[i] - arrivals_ns[i] for i in reads],
        "chunk_merged": reply.chunk_merged,
        "chunks": len(reads),
        "reasoning_chunks": len(reply.reasoning),
        "tool_call_chunks": len(reply.call_chunks),
        "reasoning_tokens": reply.reasoning_tokens,
        "reasoning_tokens_estimate": _reasoning_tokens_estimate(reply),
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cached_tokens": reply.cached_tokens,
        "status": exchange.status or None,
        "error": reply.error,
        "error_text": reply.error_text,
        "cancel_after_ns": exchange.cancel_after_ns,
        "attempts": exchange.attempts,
        "reconnects": exchange.reconnects,
        "first_chunk_tokens": reply.first_chunk_tokens,
        "draft_tokens": count(reply.timings.get("draft_n")),
        "draft_tokens_accepted": count(reply.timings.get("draft_n_accepted")),
        "finish_reason": reply.finish_reason,
        "server_prompt_ms": reply.server_prompt_ms,
        "server_predicted_ms": reply.server_predicted_ms,
        "output_sha256": reply.output_sha256,
        "output": reply.hide(reply.content) if keep_output else None,
    }


def _end(exchange: Exchange, reply: Reply) -> tuple[int, int | None]:
    """(end of the reply, time for which its connection was held after `[DONE]`), in ns.

    The second is None when the reply has no `[DONE]`.
    """
    if reply.error is not None or reply.done_read is None:
        return exchange.end_ns, None
    done_ns = exchange.arrived_ns[reply.done_read]
    return done_ns, (exchange.held_ns or exchange.end_ns) - done_ns


def _reasoning_tokens_estimate(reply: Reply) -> float | None:
    """Tokens of reasoning where the server counts the reply's tokens only; else None.

    These are spread evenly over its chunks, and in a chunk over its characters.
    """
    tokens = reply.completion_tokens
    if reply.reasoning_tokens is not None or tokens is None or not reply.text:
        return None
    chunks = sum(length / len(reply.text[i]) for i, length in reply.reasoning.items())
    return tokens * chunks / len(reply.text)
