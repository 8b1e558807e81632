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
