"""Branches of conversations: time with replies side by side, contexts, and users in flight."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pages import Page, page
from tests.unit.synthetic import Load, config, facts, rows, to_table, write_repeat

from mls.analysis.checks.pace import load_held
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.sessions.context import context
from mls.analysis.repeat.sessions.figures import sessions
from mls.analysis.repeat.sessions.spans import at_places, spans
from mls.analysis.repeat.summary import summarize
from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.units import NS_PER_MS
from mls.report.pages.workloads.sessions import HEADINGS, session_table

pytestmark = pytest.mark.usefixtures("blank_drawings")

TIMES = ("scheduled_ns", "start_ns", "first_chunk_ns", "last_chunk_ns", "first_answer_ns", "end_ns")
LATENCY_MS = 200
"""Of each of `synthetic.rows`."""


def agent(session, *turns, begin_ms=0, late_ms=0, place=None):
    """The records of one conversation.

    Each of `turns` is (start in ms, number in the conversation, turn, branch, previous, prompt,
    cached); each reply is of 20 tokens.
    """
    records = rows(Load(places=1, requests=1)) * len(turns)
    for i, (at_ms, number, turn, branch, previous, prompt, cached) in enumerate(turns):
        shift_ns = (begin_ms + at_ms + late_ms) * NS_PER_MS
        row = records[i] | {name: records[i][name] + shift_ns for name in TIMES}
        records[i] = row | {
            "job": 100 * session + number,
            "scheduled_ns": row["scheduled_ns"] - late_ms * NS_PER_MS,
            "slot": session if place is None else place,
            "session": session,
            "turn": turn,
            "branch": branch,
            "previous_job": None if previous is None else 100 * session + previous,
            "connected_ns": None,
            "chunk_ns": [at + shift_ns for at in row["chunk_ns"]],
            "prompt_tokens": prompt,
            "cached_tokens": cached,
            "completion_tokens": 20,
        }
    return records


FORKS = agent(
    0,
    *((0, 0, 0, None, None, 100, 0), (300, 1, 1, 0, 0, 150, 110)),
    *((350, 3, 1, 1, 0, 130, 0), (600, 2, 2, 0, 1, 190, 170), (900, 4, 1, None, 0, 200, 125)),
)
"""Two branches from 300 and 350 ms on; the first goes on at 600 ms; they are joined at 900 ms."""

groups = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 15)), min_size=1)


@given(groups)
def test_spans_are_the_unions_of_what_overlaps(triples):
    group, start, length = (np.array(values, np.int64) for values in zip(*triples, strict=True))
    shift = np.int64(1) << 61  # sums of two such times overflow
    order, firsts = spans(group, start + shift, start + length + shift)
    assert sorted(order) == list(range(len(triples)))
    ends = np.maximum.reduceat((start + length)[order], firsts)
    by_span = set(zip(group[order][firsts], start[order][firsts], ends, strict=True))
    assert len(by_span) == len(firsts)
    for each in set(group):
        own = [(s, s + n) for g, s, n in triples if g == each]
        covered = {at for s, e in own for at in range(s, e)}
        mine = [(s, e) for g, s, e in by_span if g == each]
        assert sum(e - s for s, e in mine) == len(covered)
        assert all(set(range(s, e)) <= covered for s, e in mine)


def test_waiting_is_the_time_in_which_a_reply_at_least_is_awaited():
    figures = sessions(to_table(FORKS), True)
    assert (figures.total, figures.failed, figures.branches) == (1, 0, 2)
    assert figures.duration_ms.mean == 900 + LATENCY_MS
    assert figures.waiting_ms.mean == LATENCY_MS + 250 + LATENCY_MS + LATENCY_MS


def test_branches_of_several_conversations_are_counted_apart():
    other = agent(1, (0, 0, 0, None, None, 9, 0), (300, 1, 1, 0, 0, 9, 0))
    assert sessions(to_table([*FORKS, *other]), True).branches == 3


def test_the_context_before_a_branch_and_a_join_is_the_forks():
    tokens = context(to_table(FORKS), True)
    by_job = dict(zip([row["job"] for row in FORKS], tokens.before.tolist(), strict=True))
    np.testing.assert_equal(by_job, {0: np.nan, 1: 120, 3: 120, 2: 170, 4: 120})
    np.testing.assert_equal(tokens.anew.tolist(), [np.nan, 10, 120, 0, 0])
    figures = sessions(to_table(FORKS), True)
    assert figures.anew_tokens == pytest.approx(130 / 4)
    assert figures.cached_share == pytest.approx((110 + 170 + 125) / (150 + 130 + 190 + 200))


@given(st.permutations(range(len(FORKS))))
def test_the_order_of_the_records_is_of_no_account(order):
    shuffled = to_table([FORKS[i] for i in order])
    expected = context(to_table(FORKS), True).before[list(order)]
    np.testing.assert_equal(context(shuffled, True).before, expected)
    assert sessions(shuffled, True) == sessions(to_table(FORKS), True)
    assert at_places(shuffled).equals(at_places(to_table(FORKS)))


def test_a_fork_without_a_count_leaves_its_branches_unknown():
    records = [row | ({"prompt_tokens": None} if row["job"] == 0 else {}) for row in FORKS]
    before = context(to_table(records), True).before.tolist()
    np.testing.assert_equal(before, [np.nan, np.nan, np.nan, 170, np.nan])


def test_requests_that_follow_one_another_are_left_as_they_are():
    table = to_table([row for row in FORKS if row["branch"] is None])
    assert at_places(table) is table


def held(late_ms, places=4, rounds=40):
    """The check of agents at `places`, who think for 300 ms before two branches of 200 ms each."""
    records = []
    for number in range(places * rounds):
        cycle_ms = 3 * (LATENCY_MS + 300 + late_ms)
        gap_ms = 300 + LATENCY_MS + late_ms
        fork, branch, join = 0, gap_ms, 2 * gap_ms
        records += agent(
            number,
            *((fork, 0, 0, None, None, 9, 0), (branch, 1, 1, 0, 0, 9, 0)),
            *((branch, 2, 1, 1, 0, 9, 0), (join, 3, 1, None, 0, 9, 0)),
            begin_ms=number // places * cycle_ms,
            late_ms=late_ms,
            place=number % places,
        )
    table = to_table(records)
    summary = summarize(table, facts(places, steady=False))
    workload = Workload(kind="conversation", file="f")
    return load_held(
        Evidence(summary, table, Run(inflight=places), Checks(), workload=workload)
    ), summary


@pytest.mark.parametrize("late_ms, status", [(0, "pass"), (400, "fail")])
def test_agents_with_branches_are_in_flight_as_their_waiting_allows(late_ms, status):
    verdict, summary = held(late_ms)
    assert verdict.status == status, verdict
    assert "conversations with requests in flight on average" in verdict.message
    if status == "pass":
        assert verdict.measured == pytest.approx(4 * LATENCY_MS / (LATENCY_MS + 300), rel=0.02)
        assert summary.inflight.achieved_time_weighted > 1.3 * verdict.measured
    assert summary.inflight.max == 8


def test_a_branch_that_starts_late_makes_no_negative_pause():
    """Due at 200 ms as the left one ended, it starts at 300 ms, after the right one's end at 210 ms."""
    late = {"scheduled_ns": FORKS[0]["end_ns"]}
    records = agent(0, (0, 0, 0, 0, None, 9, 0), (10, 1, 0, 1, None, 9, 0), (300, 2, 1, 0, 0, 9, 0))
    records[2] |= late
    table = to_table(records)
    summary = summarize(table, facts(1, steady=False))
    workload = Workload(kind="conversation", file="f")
    evidence = Evidence(summary, table, Run(inflight=1), Checks(), workload=workload)
    assert "with a pause of 0 s" in load_held(evidence).message


def test_table_and_page_tell_of_branches(tmp_path):
    sweep = config(workload={"kind": "conversation", "file": "f"}, sweep={"inflight": [1]})
    for cell in cells(sweep):
        for repeat in (1, 2):
            write_repeat(sweep, tmp_path, cell, repeat, to_table(FORKS))
    (row,) = session_table(read_study(sweep, tmp_path), ["inflight"])
    assert dict(zip(HEADINGS, row.figures, strict=True))["branches"] == "4"
    text = " ".join(Page(page(sweep, tmp_path)).text)
    assert "Tokens processed anew by turn" in text and " branches " in text
