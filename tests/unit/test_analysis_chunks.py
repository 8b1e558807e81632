"""Tokens a chunk: by the server's counts, and unknown without them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.synthetic import Load, embeddings, facts, rows, to_table

from mls.analysis.repeat.summary import summarize


def reply(tokens: int | None, chunks: int, **columns: Any) -> dict[str, Any]:
    """The record of a reply with so many tokens and chunks, the chunks 10 ms apart."""
    record = rows(Load(requests=1, tokens=chunks))[0]
    return record | {"completion_tokens": tokens} | columns


def tokens_per_chunk(*records: dict[str, Any]) -> float | None:
    return summarize(to_table([*records]), facts(1)).tokens_per_chunk


def test_it_is_all_tokens_over_all_chunks() -> None:
    assert tokens_per_chunk(*rows(Load())) == 1.0
    assert tokens_per_chunk(reply(16, 4)) == 4.0
    assert tokens_per_chunk(reply(16, 4), reply(8, 8)) == 2.0


def test_hidden_reasoning_is_in_no_later_chunk() -> None:
    assert tokens_per_chunk(reply(64, 16, first_chunk_tokens=49)) == 1.0
    assert tokens_per_chunk(reply(16, 4, first_chunk_tokens=4), reply(8, 4)) == 20 / 7
    first = reply(5, 1, first_chunk_tokens=5)
    assert tokens_per_chunk(first | {"end_ns": first["end_ns"] + 1}) is None


@pytest.mark.parametrize(
    "records",
    [
        [],
        embeddings(),
        rows(Load(stream=False)),
        [reply(None, 4), reply(16, 16)],
        [reply(None, 4) | {"error": "timeout"}],
    ],
    ids=["none", "embeddings", "in one piece", "uncounted", "failed"],
)
def test_it_is_unknown(records: list[dict[str, Any]]) -> None:
    assert tokens_per_chunk(*records) is None


def test_a_failed_reply_and_one_in_one_piece_do_not_count() -> None:
    failed = reply(None, 4) | {"error": "closed_early"}
    whole = rows(Load(requests=1, stream=False))[0]
    assert tokens_per_chunk(reply(6, 3), failed, whole) == 2.0


def merged(count: int, streamed: int) -> list[dict[str, Any]]:
    """Replies of 8 tokens: so many that the server sent in one chunk at 900 ms, the others chunk by chunk."""
    late = 900_000_000
    records = []
    for place in range(count + streamed):
        record = reply(8, 8)
        if place < count:
            at = record["start_ns"] + late
            record |= {
                "chunk_ns": [at],
                "chunks": 1,
                **{name: [record[name][0]] for name in ("chunk_lag_ns", "chunk_merged")},
                "first_chunk_ns": at,
                "last_chunk_ns": at,
                "end_ns": at,
            }
        records.append(record | {"job": place})
    return records


def test_a_reply_that_a_streaming_server_merged_has_its_first_token_in_that_chunk() -> None:
    """Without them TTFT would be of the replies that were quick."""
    summary = summarize(to_table(merged(2, 8)), facts(1))
    assert (summary.ttft_ms.n, summary.ttft_ms.max) == (10, 900.0)
    assert summary.tpot_ms.n == 0  # a fifth has none: what is left is no random sample
    assert summary.tokens_per_chunk == (2 * 8 + 8 * 8) / (2 + 8 * 8)


def test_few_merged_replies_leave_tpot_to_the_others() -> None:
    summary = summarize(to_table(merged(1, 39)), facts(1))
    assert (summary.ttft_ms.n, summary.tpot_ms.n) == (40, 39)


@pytest.mark.parametrize("streamed", [0, 1, 5])
def test_where_most_replies_are_in_one_piece_ttft_is_unknown_for_all(streamed: int) -> None:
    assert summarize(to_table(merged(5, streamed)), facts(1)).ttft_ms.n == 0
