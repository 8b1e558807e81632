"""`served_at_once`: queues with so many slots, and servers that answer all at once."""

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.synthetic import EPOCH_NS, NO_CHUNKS, Load, facts, rows, to_table

from mls.analysis.checks.server.served_at_once import served_at_once
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.in_flight import timeline
from mls.analysis.repeat.summary import summarize
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.core.units import NS_PER_MS


def verdict(table, places, **options):
    run = Run(inflight=places, iters=len(table), **options)
    course = timeline(table, places)
    summary = summarize(table, facts(places), course)
    return served_at_once(Evidence(summary, table, run, Checks(), over_time=course))


def queue(places, slots, requests, prefill_ms, answer_ms, chunks=20, seed=1):
    """A closed loop of `places` on a server that works on so many requests at once."""
    rng = random.Random(seed)
    free = [(EPOCH_NS, place) for place in range(places)]
    slot_free = [EPOCH_NS] * slots
    records = []
    for job in range(requests):
        start, place = heapq.heappop(free)
        begin = max(start, heapq.heappop(slot_free))
        first = begin + round(prefill_ms * rng.lognormvariate(0, 0.2) * NS_PER_MS)
        end = first + round(answer_ms * rng.lognormvariate(0, 0.2) * NS_PER_MS)
        heapq.heappush(slot_free, end)
        heapq.heappush(free, (end, place))
        arrivals = [first + (end - first) * i // (chunks - 1) for i in range(chunks)]
        records.append(
            {"job": job, "rank": 1, "slot": place, "scheduled_ns": start, "start_ns": start,
             "first_chunk_ns": first, "last_chunk_ns": end, "end_ns": end, "chunk_ns": arrivals,
             "chunk_lag_ns": [0] * chunks, "chunk_merged": [False] * chunks, "chunks": chunks,
             "prompt_tokens": 10, "completion_tokens": chunks, "status": 200, "attempts": 1,
             "reconnects": 0}
        )  # fmt: skip
    return to_table(records)


def test_one_slot_answers_one_of_eight_at_a_time():
    result = verdict(queue(8, 1, 80, prefill_ms=2, answer_ms=200), 8)
    assert result.status == "warn"
    assert result.measured == pytest.approx(1.0, abs=0.02)
    assert "Of 8.0 requests in flight the server answered 1.0 at a time" in result.message
    assert "never more than 1" in result.message


def test_four_slots_answer_four_of_eight_at_a_time():
    result = verdict(queue(8, 4, 80, prefill_ms=2, answer_ms=200), 8)
    assert result.status == "warn"
    assert result.measured == pytest.approx(4.0, abs=0.1)
    assert "never more than 4" in result.message


@settings(max_examples=60, deadline=None)
@given(
    places=st.integers(1, 16),
    prefill_ms=st.floats(1, 2000),
    answer_ms=st.floats(50, 500),
    seed=st.integers(0, 10**6),
)
def test_a_server_that_takes_all_at_once_is_not_blamed(places, prefill_ms, answer_ms, seed):
    """Whatever the share of the time in which prompts are read."""
    table = queue(places, places, 30 * places, prefill_ms, answer_ms, seed=seed)
    assert verdict(table, places).status == "pass"


@settings(max_examples=60, deadline=None)
@given(slots=st.integers(1, 8), more=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_a_queue_is_seen_with_its_slots(slots, more, seed):
    places = 2 * slots + more
    result = verdict(queue(places, slots, 12 * places, 20, 200, seed=seed), places)
    assert result.status == "warn"
    assert f"never more than {slots}:" in result.message


def test_short_replies_tell_nothing_of_a_queue():
    result = verdict(queue(8, 2, 80, prefill_ms=2, answer_ms=20, chunks=4), 8)
    assert (result.status, result.measured) == ("unknown", pytest.approx(2, abs=0.3))
    assert "run.max_tokens" in result.message


def test_failed_requests_tell_nothing_of_a_queue():
    """A server that gives up a request as soon as the next one comes."""
    records = queue(places=4, slots=4, requests=40, prefill_ms=50, answer_ms=200).to_pylist()
    for record in records[:-1]:
        no_reply = dict.fromkeys(("first_chunk_ns", "last_chunk_ns", "completion_tokens"))
        record |= no_reply | NO_CHUNKS | {"error": "bad_reply", "error_text": "nothing in it"}
    result = verdict(to_table(records), 4)
    assert (result.status, "39 of 40 requests failed" in result.message) == ("unknown", True)


def test_replies_in_one_piece_have_no_such_verdict():
    assert verdict(to_table(rows(Load(stream=False))), 4) is None
    assert verdict(to_table(rows(Load())), 4, stream=False) is None
    failed = [
        row | NO_CHUNKS | {"first_chunk_ns": None, "error": "timeout"} for row in rows(Load())
    ]
    assert verdict(to_table(failed), 4) is None
