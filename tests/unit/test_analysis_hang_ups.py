"""What became of hung-up requests, by simulated servers that stop for them, or don't."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.hang_ups import ITL_MS, LOAD, REQUESTS, RUN, TOKENS, TTFT_MS, counters, one_slot
from tests.unit.synthetic import facts, rows, to_table
from tests.unit.verdicts import verdicts

from mls.analysis.repeat.summary import summarize


def figures(records, before=None, after=None, slots=1, reply_tokens=TOKENS):
    values = {"metrics_before": before, "metrics_after": after, "slots": slots}
    return summarize(to_table(records), facts(1, reply_tokens=reply_tokens, **values)).hang_ups


def judged(records, before=None, after=None, slots=1):
    values = {"slots": slots, "reply_tokens": TOKENS}
    return verdicts(to_table(records), before, after, RUN, **values)["slots_freed"]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), keeps=st.floats(0, 1))
def test_the_wait_of_the_next_request_tells_how_long_a_slot_was_kept(seed, keeps):
    records, _ = one_slot(keeps, seed=seed)
    freed = figures(records).in_reply
    if freed.share is None:
        assert freed.n < 3
        return
    # a chunk of the reply is what is generated or not
    assert freed.share == pytest.approx(keeps, abs=0.1)
    assert freed.freed_ms == pytest.approx(keeps * freed.kept_ms, abs=ITL_MS)
    assert freed.share_low <= freed.share <= freed.share_high


@pytest.mark.parametrize(
    ("keeps", "status"),
    [(0.0, "pass"), (0.2, "pass"), (0.35, "warn"), (0.7, "fail"), (1.0, "fail")],
)
def test_a_server_that_generates_on_fails_by_who_comes_next_and_by_its_counters(keeps, status):
    records, made = one_slot(keeps)
    by_next = judged(records)
    assert by_next.status == status
    by_counters = judged(records, *counters(sum(made)), slots=None)
    assert by_counters.status == status
    # rests that the run was too short to see the end of are left out of the whole
    assert keeps - 0.05 <= by_counters.measured <= 1.2 * keeps + 0.05
    assert ("others wait for their slots" in by_next.message) == (status != "pass")


def test_a_server_that_counts_whole_replies_only_passes_when_it_stops():
    records, _ = one_slot(0.0)
    whole = sum(row["error"] is None for row in records)
    assert judged(records, *counters(TOKENS * whole), slots=None).status == "pass"
    verdict = judged(records, *counters(TOKENS * REQUESTS), slots=None)  # it hung on to all of them
    assert verdict.status == "fail" and "generated 100%" in verdict.message


def test_a_prompt_may_be_read_to_its_end_but_its_reply_may_not_be_generated():
    """Hang-ups 5 to 45 ms after the start, where the first token takes 50 ms."""
    reads_on, _ = one_slot(TTFT_MS - 10, (5, 45))
    verdict = judged(reads_on)
    assert verdict.status == "pass" and "hang-ups before the first token" in verdict.message
    assert figures(reads_on).in_prompt.freed_ms == pytest.approx(TTFT_MS - 10)
    assert judged(one_slot(1.0, (5, 45))[0]).status == "fail"


def test_it_cannot_be_told_without_counters_where_slots_are_free_or_unknown():
    records, made = one_slot(1.0)
    for slots in (None, 2):
        verdict = judged(records, slots=slots)
        assert verdict.status == "unknown" and "can't be told" in verdict.message
        found = figures(records, slots=slots)
        assert found.in_reply.freed_ms is None and found.generated_share is None
    assert judged(records, *counters(sum(made)), slots=2).status == "fail"


def test_counters_that_others_use_or_that_lag_are_no_evidence():
    records, made = one_slot(1.0)
    assert figures(records, *counters(sum(made))).generated_share >= 1
    assert figures(records, *counters(sum(made), 2 * REQUESTS)).generated_share is None
    again = [row | {"attempts": 2} if row["job"] == 3 else row for row in records]
    assert figures(again, *counters(sum(made))).generated_share is None
    late = [row for row in records if row["error"] is None][:1] + [
        row for row in records if row["error"]
    ][-2:]
    assert figures(late, *counters(sum(made))).generated_share is None


def test_tokens_of_a_chunk_that_was_being_filled_are_none_of_the_rest():
    """A server that sends 20 tokens at a time, counts each, and stops at once."""
    records, made = one_slot(0.0, (60, 400))
    merged = []
    for row in records:
        chunks = row["chunk_ns"][19::20]
        times = {"chunk_ns": chunks, "chunks": len(chunks), "chunk_lag_ns": [0] * len(chunks)}
        times |= {"chunk_merged": [False] * len(chunks)}
        times |= {"first_chunk_ns": chunks[0] if chunks else None}
        merged.append(row | times)
    verdict = judged(merged, *counters(sum(made)), slots=None)
    assert verdict.status == "pass", verdict


def test_few_hang_ups_and_noise_leave_it_unknown():
    records, _ = one_slot(0.4, (250, 400), jitter_ms=150.0)
    verdict = judged(records[:12])
    assert verdict.status == "unknown" and "that came next: send more" in verdict.message
    verdict = judged(records[:30])
    assert verdict.status == "unknown" and "too few to tell" in verdict.message


def test_without_hang_ups_there_is_no_such_verdict():
    table = to_table(rows(LOAD))
    assert summarize(table, facts(1, slots=1)).hang_ups is None
    assert "slots_freed" not in verdicts(table, run=RUN, slots=1)
