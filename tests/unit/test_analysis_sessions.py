"""Conversations: their time, and the tokens of their context that are processed anew."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pages import Page, page
from tests.unit.synthetic import Load, config, rows, table, to_table, write_repeat

from mls.analysis.repeat.breakdown import parts
from mls.analysis.repeat.sessions.context import context
from mls.analysis.repeat.sessions.figures import sessions
from mls.analysis.study import read_study
from mls.analysis.tables import cell_rows
from mls.config.cells import cells
from mls.core.units import NS_PER_MS
from mls.report.pages.workloads.sessions import HEADINGS, session_table

pytestmark = pytest.mark.usefixtures("blank_drawings")

LATENCY_MS, PAUSE_MS = 200, 300
TIMES = ("scheduled_ns", "start_ns", "first_chunk_ns", "last_chunk_ns", "first_answer_ns", "end_ns")


def talk(session, prompts, cached, replies, begin_ms=0):
    """The records of one conversation; each list has a value a turn."""
    records = rows(Load(places=1, requests=len(prompts)))
    for turn, row in enumerate(records):
        later_ns = (begin_ms + turn * PAUSE_MS) * NS_PER_MS
        row |= {name: row[name] + later_ns for name in TIMES}
        row |= {
            "job": 100 * session + turn,
            "slot": session,
            "session": session,
            "turn": turn,
            "connected_ns": None,
            "chunk_ns": [at + later_ns for at in row["chunk_ns"]],
            "prompt_tokens": prompts[turn],
            "cached_tokens": cached[turn],
            "completion_tokens": replies[turn],
        }
    return records


TALKS = [
    *talk(0, [100, 160, 230], [0, 118, 0], [20, 20, 20]),
    *talk(1, [50, 90], [0, 60], [20, 20], begin_ms=70),
]


def anew(records, own_replies=True):
    return context(to_table(records), own_replies).anew.tolist()


def test_tokens_anew_are_those_of_the_context_before_that_the_cache_lacked():
    """The context before is the prompt before and its reply: 120, 180 and 70 tokens."""
    np.testing.assert_equal(anew(TALKS), [np.nan, 2, 180, np.nan, 10])
    before = context(to_table(TALKS), True).before.tolist()
    np.testing.assert_equal(before, [np.nan, 120, 180, np.nan, 70])


def test_replies_that_are_not_sent_again_are_none_of_the_context():
    np.testing.assert_equal(anew(TALKS, own_replies=False), [np.nan, 0, 160, np.nan, 0])
    thinks = [row | {"reasoning_chunks": 3} for row in TALKS]
    np.testing.assert_equal(anew(thinks), [np.nan, 0, 160, np.nan, 0])


def test_a_prompt_that_shrinks_has_no_more_context_than_tokens():
    np.testing.assert_equal(anew(talk(0, [100, 40], [0, 10], [20, 20])), [np.nan, 30])


@given(st.permutations(range(len(TALKS))))
def test_the_order_of_the_records_is_of_no_account(order):
    np.testing.assert_equal(anew([TALKS[i] for i in order]), [anew(TALKS)[i] for i in order])
    assert sessions(to_table([TALKS[i] for i in order]), True) == sessions(to_table(TALKS), True)


@pytest.mark.parametrize("column", ["prompt_tokens", "cached_tokens", "completion_tokens"])
def test_what_a_server_does_not_count_is_unknown(column):
    records = [row | {column: None} for row in TALKS]
    assert np.isnan(anew(records)).all()
    figures = sessions(to_table(records), True)
    assert figures.anew_tokens is None and figures.anew_share is None
    assert (figures.cached_share is None) == (column != "completion_tokens")
    part = parts([to_table(records)], "turn")[1]
    assert part.anew_tokens is None


def test_one_request_without_a_count_makes_the_whole_unknown():
    records = [row | ({"cached_tokens": None} if row["job"] == 1 else {}) for row in TALKS]
    figures = sessions(to_table(records), True)
    assert figures.cached_share is None and figures.anew_tokens is None


def test_the_time_of_a_conversation_is_from_its_first_request_to_its_last_reply():
    figures = sessions(to_table(TALKS), True)
    assert (figures.total, figures.failed) == (2, 0)
    times = (figures.duration_ms.min, figures.duration_ms.max)
    assert times == (2 * LATENCY_MS + PAUSE_MS, 3 * LATENCY_MS + 2 * PAUSE_MS)
    assert (figures.waiting_ms.min, figures.waiting_ms.max) == (2 * LATENCY_MS, 3 * LATENCY_MS)
    assert figures.cached_share == pytest.approx(178 / 480)
    assert figures.anew_tokens == pytest.approx(192 / 3)
    assert figures.anew_share == pytest.approx(192 / 370)


def test_a_conversation_that_failed_has_no_time_and_is_counted():
    broken = [row | ({"error": "timeout"} if row["job"] == 101 else {}) for row in TALKS]
    figures = sessions(to_table(broken), True)
    assert (figures.total, figures.failed, figures.duration_ms.n) == (2, 1, 1)
    assert figures.anew_tokens == pytest.approx(182 / 2)


def test_other_loads_have_no_conversations():
    assert sessions(table(Load()), True) is None


def test_a_turn_of_several_repeats_has_the_mean_of_its_own_conversations():
    """Sessions of two repeats have the same numbers, and are not taken for one another."""
    other = [*talk(0, [100, 160], [0, 0], [20, 20]), *talk(1, [50, 90], [0, 0], [20, 20])]
    second = parts([to_table(TALKS), to_table(other)], "turn")[1]
    assert second.anew_tokens == pytest.approx((2 + 10 + 120 + 70) / 4)
    assert second.cached_tokens == pytest.approx((118 + 60) / 4)


def test_tables_and_page_tell_of_conversations(tmp_path):
    sweep = config(
        workload={"kind": "conversation", "turns": 3},
        sweep={"cache_prompt": [False, True], "inflight": [2]},
    )
    for cell in cells(sweep):
        for repeat in (1, 2):
            on = cell["cache_prompt"]
            records = [row | ({} if on else {"cached_tokens": 0}) for row in TALKS]
            write_repeat(sweep, tmp_path, cell, repeat, to_table(records))
    study = read_study(sweep, tmp_path)
    off, on = session_table(study, ["cache_prompt"])
    assert dict(zip(HEADINGS, off.figures, strict=True))["conversations"] == "4"
    shares = [row["sessions.anew_share"] for row in cell_rows(study)]
    assert shares == [1.0, pytest.approx(192 / 370)]
    assert off.figures[-1].startswith("1.00") and on.figures[-1].startswith("0.519")
    html = page(sweep, tmp_path)
    text = " ".join(Page(html).text)
    assert (
        "Cached share of the prompt by turn" in text
        and "Tokens processed anew by turn" in text
        and "TTFT by turn" in text
    )
    assert 'id="sessions"' in html


def test_the_page_of_another_load_tells_of_none(tmp_path):
    sweep = config(sweep={"inflight": [2]})
    for cell in cells(sweep):
        write_repeat(sweep, tmp_path, cell, 1, table(Load()))
    assert 'id="sessions"' not in page(sweep, tmp_path)


def test_the_context_of_agents_is_what_an_ideal_cache_has():
    """Their prompts need not go on from the one before."""
    records = [row | {"ideal_cached_tokens": 64 if row["turn"] else 0} for row in TALKS]
    figures = context(to_table(records), own_replies=False)
    np.testing.assert_equal(figures.before.tolist(), [np.nan, 64, 64, np.nan, 64])
    np.testing.assert_equal(figures.anew.tolist(), [np.nan, 0, 64, np.nan, 4])
