"""TPOT of the thought and of the answer, and the time to whole tool calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.synthetic import Load, facts, rows, to_table

from mls.analysis.repeat.samples import of_requests
from mls.analysis.repeat.summary import summarize
from mls.core.record import KIND_COLUMNS
from mls.core.units import NS_PER_MS

THINKING = Load(places=4, requests=40, tokens=16, thinking=8)


def tpots(records: list[dict[str, Any]] | pa.Table) -> tuple[float | None, float | None]:
    table = records if isinstance(records, pa.Table) else to_table(records)
    figures = summarize(table, facts(4))
    assert figures.reasoning_tpot_ms.n in (0, figures.answer_tpot_ms.n)
    return figures.reasoning_tpot_ms.mean, figures.answer_tpot_ms.mean


def thinking(**columns: Any) -> list[dict[str, Any]]:
    return [row | columns for row in rows(THINKING)]


def slow_answers(factor: int) -> list[dict[str, Any]]:
    """Records whose answers take so many times as long a token as their thoughts."""
    records = thinking()
    for row in records:
        last = row["last_reasoning_ns"]
        row["chunk_ns"] = [
            at if at <= last else last + factor * (at - last) for at in row["chunk_ns"]
        ]
        row["last_chunk_ns"] = row["end_ns"] = row["chunk_ns"][-1]
    return records


def test_each_kind_has_its_pace() -> None:
    assert tpots(slow_answers(3)) == pytest.approx((10.0, 30.0))
    assert summarize(to_table(slow_answers(3)), facts(4)).tpot_ms.mean == pytest.approx(310 / 15)


def test_the_server_s_count_of_reasoning_comes_before_the_estimate() -> None:
    records = thinking(reasoning_tokens=11, reasoning_tokens_estimate=None)
    assert tpots(records) == pytest.approx((70 / 10, 80 / 5))


@pytest.mark.parametrize(
    "columns",
    [
        dict.fromkeys(KIND_COLUMNS),
        {"reasoning_tokens_estimate": None},
        {"last_reasoning_ns": None, "reasoning_chunks": 0, "reasoning_tokens": 8},
        {"first_answer_ns": None},
        {"completion_tokens": None},
        {"completion_tokens": 64},
        {"completion_tokens": 64, "first_chunk_tokens": 1},
    ],
    ids=["earlier version", "uncounted", "hidden", "unanswered", "no count", "merged", "estimate of merged"],
)  # fmt: skip
def test_they_are_unknown(columns: dict[str, Any]) -> None:
    assert tpots(thinking(**columns)) == (None, None)


def test_replies_that_think_again_after_their_answer_have_none() -> None:
    records = thinking()
    records[0]["last_reasoning_ns"] = records[0]["last_chunk_ns"]
    figures = summarize(to_table(records), facts(4))
    assert (figures.reasoning_tpot_ms.n, figures.answer_tpot_ms.n, figures.tpot_ms.n) == (
        39,
        39,
        40,
    )


def test_a_thought_in_one_chunk_has_no_pace_of_its_own() -> None:
    records = rows(Load(places=4, requests=8, tokens=16, thinking=1))
    assert tpots(records) == (None, pytest.approx(10.0))
    counted = [row | {"reasoning_tokens": 2, "reasoning_tokens_estimate": None} for row in records]
    assert tpots(counted) == (None, pytest.approx(150 / 14))


@given(
    st.lists(st.integers(1, 50), min_size=4, max_size=20),
    st.integers(2, 18),
    st.integers(0, 3),
)
def test_both_together_are_all_of_the_reply(gaps: list[int], thought: int, early: int) -> None:
    """The times by TPOT of each kind add up to the time by TPOT."""
    thought = min(thought, len(gaps) - 1)
    counted = max(thought - early, 2)
    (row,) = rows(Load(places=1, requests=1, tokens=len(gaps), thinking=thought))
    chunks = (row["start_ns"] + np.cumsum(gaps) * int(NS_PER_MS)).tolist()
    row |= {"chunk_ns": chunks, "first_chunk_ns": chunks[0], "last_chunk_ns": chunks[-1]}
    row |= {"last_reasoning_ns": chunks[thought - 1], "first_answer_ns": chunks[thought]}
    row |= {"reasoning_tokens": counted, "reasoning_tokens_estimate": None}
    each = {name: values[0] for name, values in of_requests(to_table([row])).items()}
    by_kind = each["reasoning_tpot_ms"] * (counted - 1) + each["answer_tpot_ms"] * (
        len(gaps) - counted
    )
    assert by_kind == pytest.approx(each["tpot_ms"] * (len(gaps) - 1))


def test_whole_tool_calls_have_a_time_and_others_none() -> None:
    assert summarize(to_table(rows(Load())), facts(4)).tool_call_ms.n == 0
    records = rows(Load(requests=8))
    for row in records[:3]:
        row["tool_call_ns"] = row["start_ns"] + 7 * int(NS_PER_MS)
    records[0]["error"] = "timeout"
    figures = summarize(to_table(records), facts(4)).tool_call_ms
    assert (figures.n, figures.mean) == (2, 7.0)
