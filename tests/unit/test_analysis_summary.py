"""The summary of a repeat, from records whose truth is known."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.synthetic import EPOCH_NS, LAG_NS, Load, facts, rows, table, to_table

from mls.analysis.repeat.in_flight import in_flight, window
from mls.analysis.repeat.samples import distribution, samples
from mls.analysis.repeat.summary import summarize
from mls.core.units import NS_PER_MS

STEADY = Load(places=4, requests=40, tokens=16, ttft_ms=50, itl_ms=10)
LATENCY_MS = 50 + 15 * 10


def row(job, start_ms, end_ms, **columns):
    """The record of a request without chunks; start and end in ms after the epoch."""
    at = EPOCH_NS + start_ms * NS_PER_MS
    bare = rows(Load(requests=1, tokens=1))[0]
    times = {"scheduled_ns": at, "start_ns": at, "end_ns": EPOCH_NS + end_ms * NS_PER_MS}
    return bare | {"job": job} | times | columns


def test_times_are_those_of_the_records():
    summary = summarize(table(STEADY), facts(4))
    assert summary.latency_ms.n == 40
    assert summary.latency_ms.mean == summary.latency_ms.p99 == LATENCY_MS
    assert summary.ttft_ms.p50 == 50
    assert summary.tpot_ms.max == 10
    assert summary.itl_ms.n == 40 * 15
    assert summary.itl_ms.min == summary.itl_ms.max == 10
    assert summary.queue_ms.mean == pytest.approx(LATENCY_MS - 45 - 150)
    assert (summary.connect_ms.n, summary.connect_ms.mean) == (4, 0.2)
    assert summary.client.loop_lag_ms.max == LAG_NS / NS_PER_MS


def test_rates_in_the_window_and_over_the_whole_run():
    summary = summarize(table(STEADY), facts(4))
    # 10 rounds of 4; the last start is at the end of the 9th round
    assert summary.wall_s == pytest.approx(10 * LATENCY_MS / 1000)
    assert summary.window_s == pytest.approx(9 * LATENCY_MS / 1000)
    assert summary.throughput.requests_per_s == pytest.approx(4 / 0.2)
    assert summary.throughput.completion_tokens_per_s == pytest.approx(4 * 16 / 0.2)
    assert summary.throughput.prompt_tokens_per_s == pytest.approx(4 * 60 / 0.2)
    assert summary.overall.completion_tokens_per_s == pytest.approx(640 / 2.0)


def test_inflight_is_asked_and_achieved():
    inflight = summarize(table(STEADY), facts(4)).inflight
    assert (inflight.asked, inflight.max) == (4, 4)
    assert inflight.achieved_littles_law == pytest.approx(4)
    assert inflight.achieved_time_weighted == pytest.approx(4)


def test_a_late_client_lowers_achieved_inflight_and_shows_in_latency_from_scheduled():
    summary = summarize(table(replace(STEADY, late_ms=20)), facts(4))
    assert summary.lateness_ms.p50 == 20
    assert summary.latency_ms.p50 == LATENCY_MS
    assert summary.latency_from_scheduled_ms.p50 == LATENCY_MS + 20
    assert summary.inflight.achieved_time_weighted == pytest.approx(4 * 200 / 220, rel=0.01)


def test_never_full_has_no_window_but_overall_rates():
    summary = summarize(table(replace(STEADY, places=1)), facts(8))
    assert summary.window_s is None
    assert summary.throughput.requests_per_s is None
    assert summary.throughput.completion_tokens_per_s is None
    assert summary.inflight.achieved_time_weighted is None
    assert summary.overall.requests_per_s == pytest.approx(5)


def test_full_only_at_the_last_start_has_an_empty_window():
    assert summarize(table(replace(STEADY, requests=4)), facts(4)).window_s is None


def test_failed_requests_are_counted_by_kind_and_in_no_distribution():
    errors = {3: "timeout", 7: "http_500", 8: "timeout"}
    summary = summarize(table(replace(STEADY, failed=errors)), facts(4))
    assert (summary.requests.total, summary.requests.ok, summary.requests.error) == (40, 37, 3)
    assert summary.requests.errors == {"http_500": 1, "timeout": 2}
    assert summary.latency_ms.n == 37
    assert summary.tokens.completion == 37 * 16


def test_gaps_beside_a_merged_chunk_are_unknown():
    records = rows(Load(places=1, requests=1, tokens=6))
    records[0]["chunk_merged"] = [False, False, True, False, False, False]
    summary = summarize(to_table(records), facts(1))
    assert summary.itl_ms.n == 3  # 0–1, 3–4, 4–5; not 1–2 and 2–3
    assert summary.client.merged_chunks == 1


def test_no_gap_reaches_from_one_request_into_the_next():
    gaps = samples(table(Load(places=1, requests=5, tokens=3)))["itl_ms"]
    assert len(gaps) == 5 * 2
    assert set(gaps) == {10.0}


def test_a_reply_in_one_piece_has_neither_ttft_nor_tpot():
    summary = summarize(table(replace(STEADY, stream=False)), facts(4))
    assert (summary.ttft_ms.n, summary.tpot_ms.n, summary.itl_ms.n) == (0, 0, 0)
    assert summary.ttft_ms.p50 is None
    assert summary.latency_ms.mean == LATENCY_MS


def test_tokens_of_a_reply_in_one_piece_count_with_their_share_of_the_window():
    steady = {"completion_tokens": 10, "chunk_ns": [1], "chunks": 1}
    # the window is 100…300 ms; the first request lies in it by half, the last by 100 of 400 ms
    records = [row(0, 0, 200, **steady), row(1, 100, 200, **steady), row(2, 200, 600, **steady),
            row(3, 300, 400, **steady)]  # fmt: skip
    summary = summarize(to_table(records), facts(2))
    assert summary.window_s == 0.2
    assert summary.throughput.completion_tokens_per_s == pytest.approx((5 + 10 + 2.5 + 0) / 0.2)
    assert summary.throughput.requests_per_s == pytest.approx(2 / 0.2)


def test_ends_before_starts_at_the_same_moment():
    course = in_flight(to_table([row(0, 0, 100), row(1, 100, 200)]))
    assert course.max == 1


def test_nanoseconds_are_not_rounded_on_the_way():
    late = EPOCH_NS + 2**55 + 1  # as a float it would be even
    records = [row(0, 0, 0, start_ns=late, end_ns=late + 1)]
    assert samples(to_table(records))["latency_ms"].tolist() == [1 / NS_PER_MS]


def test_no_request_at_all():
    summary = summarize(to_table([]), facts(4))
    assert (summary.requests.total, summary.wall_s, summary.latency_ms.n) == (0, 0, 0)
    assert summary.inflight.achieved_littles_law is None


def test_busy_slots_are_those_of_the_run_not_since_the_server_started():
    mean, steps = "llamacpp:n_busy_slots_per_decode", "llamacpp:n_decode_total"
    before, after = {mean: 1.0, steps: 100.0}, {mean: 2.5, steps: 400.0}
    summary = summarize(table(STEADY), facts(4, metrics_before=before, metrics_after=after))
    assert summary.server.busy_slots == pytest.approx((2.5 * 400 - 100) / 300)


def test_server_rates_are_of_its_own_timings():
    server = summarize(table(STEADY), facts(4)).server
    assert server.predicted_per_second.p50 == pytest.approx(16 / 0.150)
    assert server.prompt_per_second.p50 == pytest.approx(60 / 0.045)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=30))
def test_flight_agrees_with_counting_by_hand(spans):
    course = in_flight(to_table([row(i, a, a + d) for i, (a, d) in enumerate(spans)]))
    for moment in range(0, 1001, 25):
        at = EPOCH_NS + moment * NS_PER_MS
        index = np.searchsorted(course.at_ns, at, side="right") - 1
        count = sum(a <= moment < a + d for a, d in spans)
        assert (course.count[index] if index >= 0 else 0) == count
    total_ms = np.dot(np.diff(course.at_ns), course.count[:-1]) / NS_PER_MS
    assert total_ms == pytest.approx(sum(d for _, d in spans))


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), min_size=2, max_size=30),
    st.integers(1, 5),
)
def test_mean_in_the_window_lies_between_least_and_most(spans, inflight):
    records = to_table([row(i, a, a + d) for i, (a, d) in enumerate(spans)])
    course = in_flight(records)
    steady = window(records, course, inflight)
    if steady:
        assert 0 <= course.mean(*steady) <= course.max
        whole = course.mean(int(course.at_ns[0]), int(course.at_ns[-1]))
        wall = (course.at_ns[-1] - course.at_ns[0]) / NS_PER_MS
        assert whole == pytest.approx(sum(d for _, d in spans) / wall)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=200))
def test_distribution_is_that_of_numpy(values):
    data = np.array(values)
    figures = distribution(data)
    assert figures.p95 == pytest.approx(np.percentile(data, 95))
    assert figures.min <= figures.p50 <= figures.p90 <= figures.p99 <= figures.max
    assert (figures.std is None) == (len(values) == 1)


def test_a_table_of_several_pieces_counts_like_one():
    one = table(STEADY)
    pieces = pa.concat_tables([one.slice(0, 7), one.slice(7, 20), one.slice(27)])
    assert pieces.column("chunk_ns").num_chunks == 3
    assert summarize(pieces, facts(4)) == summarize(one, facts(4))
