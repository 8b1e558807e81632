"""The benchmarks' pairing: it reports exactly the errors of a client whose errors are known."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks import records
from benchmarks.pairing import achieved_inflight, pair, percentiles, restrict, steady
from benchmarks.records import Seen, Truth, read_generator, read_reference, read_truth
from hypothesis import given
from hypothesis import strategies as st

from mls.core.record import REQUESTS

MS = 1_000_000


def truth_of(requests: int, chunks: int, gap_ms: int = 10) -> Truth:
    """Requests 1,000 ms apart: the first token after 50 ms, then one after each gap."""
    arrival = np.arange(requests, dtype=np.int64) * 1000 * MS
    first = arrival + 50 * MS
    chunk_ns = [f + np.arange(chunks, dtype=np.int64) * gap_ms * MS for f in first]
    send_ns = np.concatenate(chunk_ns)
    return Truth(
        ids=[f"run-{i}" for i in range(requests)],
        arrival_ns=arrival,
        arrival_user_ns=arrival,
        service_ns=arrival,
        first_ns=first,
        last_ns=first + (chunks - 1) * gap_ms * MS,
        chunk_ns=chunk_ns,
        chunk_sure=[np.ones(chunks, dtype=bool) for _ in first],
        planned_ns=send_ns,
        before_ns=send_ns,
        after_ns=send_ns,
        deferred=0,
        unfinished=0,
        dropped=0,
        clock_step_ns=0,
    )


def perfect(truth: Truth) -> Seen:
    return Seen(
        ids=list(truth.ids),
        start_ns=truth.arrival_ns.copy(),
        end_ns=truth.last_ns.copy(),
        end_user_ns=truth.last_ns.copy(),
        chunk_ns=[c.copy() for c in truth.chunk_ns],
        chunk_user_ns=[c.copy() for c in truth.chunk_ns],
        merged=[np.zeros(len(c), dtype=bool) for c in truth.chunk_ns],
    )


def test_a_perfect_client_has_no_error_and_the_opening_request_is_left_out() -> None:
    truth = truth_of(4, 5)
    errors = pair(truth, perfect(truth))
    assert errors.requests == 3
    assert len(errors.ttft_ms) == 3 and len(errors.gap_ms) == 3 * 4
    assert not errors.ttft_ms.any() and not errors.gap_ms.any() and not errors.latency_ms.any()


@given(st.permutations(range(5)), st.lists(st.integers(-5, 5), min_size=6, max_size=6))
def test_errors_come_out_as_they_were_put_in(order: list[int], shift_ms: list[int]) -> None:
    """The records come in any order, and every start is 2 ms early."""
    truth = truth_of(5, 6)
    ideal = perfect(truth)
    chunk_ns = [c + np.array(shift_ms, dtype=np.int64) * MS for c in truth.chunk_ns]
    client = Seen(
        ids=[ideal.ids[i] for i in order],
        start_ns=ideal.start_ns[order] - 2 * MS,
        end_ns=ideal.end_ns[order] + 7 * MS,
        end_user_ns=ideal.end_ns[order] + 9 * MS,
        chunk_ns=[chunk_ns[i] for i in order],
        chunk_user_ns=[chunk_ns[i] for i in order],
        merged=[ideal.merged[i] for i in order],
    )
    errors = pair(truth, client)
    assert np.allclose(errors.ttft_ms, shift_ms[0] + 2)
    assert np.allclose(errors.gap_ms, np.tile(np.diff(shift_ms), 4))
    assert np.allclose(errors.latency_ms, 9)
    assert np.allclose(pair(truth, client, user_space=True).latency_ms, 11)


def test_a_merged_chunk_is_left_out_by_kernel_times_and_counted_but_kept_by_user_space() -> None:
    truth = truth_of(3, 4)
    client = perfect(truth)
    for chunk_ns, user_ns, merged in zip(
        client.chunk_ns, client.chunk_user_ns, client.merged, strict=True
    ):
        chunk_ns[1] = chunk_ns[2]  # chunks 1 and 2 came in one read
        merged[1] = True
        user_ns[1:3] = chunk_ns[2] + 20 * MS
    errors = pair(truth, client)
    assert errors.merged == 2 and errors.chunks == 8
    assert len(errors.gap_ms) == 2 and not errors.gap_ms.any()  # only 2 → 3 is known
    late = pair(truth, client, user_space=True)
    assert np.allclose(late.gap_ms, [30, -10, -20] * 2)


def test_a_merged_first_chunk_gives_no_ttft() -> None:
    truth = truth_of(3, 4)
    client = perfect(truth)
    for merged in client.merged:
        merged[0] = True
    assert len(pair(truth, client).ttft_ms) == 0
    assert math.isnan(percentiles(pair(truth, client).ttft_ms)["p99"])


def test_what_the_server_does_not_know_is_no_truth() -> None:
    truth = truth_of(3, 4)
    for sure in truth.chunk_sure:
        sure[-1] = False
    errors = pair(truth, perfect(truth))
    assert errors.unsure == 2
    assert len(errors.latency_ms) == 0 and len(errors.gap_ms) == 2 * 2


def test_a_lost_chunk_is_counted_as_such() -> None:
    truth = truth_of(3, 4)
    client = perfect(truth)
    client.chunk_ns[2] = client.chunk_ns[2][:-1]
    errors = pair(truth, client)
    assert errors.miscounted == 1 and len(errors.ttft_ms) == 1


def test_a_request_that_the_server_never_had_is_an_error() -> None:
    truth = truth_of(3, 4)
    client = dataclasses.replace(perfect(truth), ids=["run-0", "run-1", "other"])
    with pytest.raises(ValueError, match="other"):
        pair(truth, client)


def test_achieved_inflight_is_the_server_s_time_weighted_mean() -> None:
    truth = truth_of(11, 5)  # each outstanding for 90 of 1,000 ms
    part = steady(truth)
    # from the end of the first reply (90 ms) to the last arrival (10,000 ms): 9 replies whole
    assert achieved_inflight(truth, part) == pytest.approx(9 * 90 / 9910)
    assert part.requests == 10 and part.chunks == 9 * 5
    only = restrict(truth, ["run-0", "run-10"])
    assert achieved_inflight(truth, steady(truth, only), only) == 0


def test_a_run_without_a_steady_part_says_so() -> None:
    with pytest.raises(ValueError, match="too short"):
        steady(truth_of(1, 3))


def test_the_record_files_are_read_as_they_are_written(tmp_path: Path) -> None:
    header = np.zeros(1, records._HEADER)
    header["magic"], header["requests"], header["rows"] = b"MLSTRUTH", 2, 3
    requests = np.zeros(2, records._SERVED)
    requests["id"], requests["finished"] = [b"a-0", b"gone"], [1, 0]
    requests["arrival_ns"], requests["first_send"], requests["sends"] = 5, [1, 0], [2, 1]
    sends = np.zeros(3, records._SEND)
    sends["before_ns"], sends["after_ns"] = [1, 100, 200], [2, 105, 200 + records.UNSURE_NS + 1]
    sends["chunks"] = [1, 1, 2]
    path = tmp_path / "truth.bin"
    path.write_bytes(header.tobytes() + requests.tobytes() + sends.tobytes())
    truth = read_truth(path)
    assert truth.ids == ["a-0"] and truth.unfinished == 1
    assert truth.chunk_ns[0].tolist() == [100, 200, 200]
    assert truth.chunk_sure[0].tolist() == [True, False, False]
    assert truth.first_ns.tolist() == [100] and truth.last_ns.tolist() == [200]
    with pytest.raises(ValueError, match="MLSSEEN1"):
        read_reference(path)


def test_the_generator_s_records_are_read_without_its_failed_requests(tmp_path: Path) -> None:
    row = dict.fromkeys(REQUESTS.names)
    good = row | {
        "request_id": "r-1",
        "start_ns": 10,
        "end_ns": 40,
        "chunk_ns": [20, 40],
        "chunk_lag_ns": [1, 5],
        "chunk_merged": [False, True],
    }
    bad = row | {"request_id": "r-2", "start_ns": 10, "error": "timeout"}
    path = tmp_path / "requests.parquet"
    pq.write_table(pa.Table.from_pylist([bad, good], schema=REQUESTS), path)
    client = read_generator(path)
    assert client.ids == ["r-1"] and client.end_user_ns.tolist() == [45]
    assert client.chunk_user_ns[0].tolist() == [21, 45]
    assert client.merged[0].tolist() == [False, True]
