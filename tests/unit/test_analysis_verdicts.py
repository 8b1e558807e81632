"""Each verdict: a clean run passes it, a planted fault turns it."""

from dataclasses import replace

import pytest
from tests.unit.synthetic import EPOCH_NS, Load, embeddings, facts, rows, table, to_table
from tests.unit.verdicts import AFTER, BEFORE, CLEAN, verdicts

from mls.analysis.checks.registry import judge
from mls.analysis.repeat.evidence import Evidence, worst
from mls.analysis.repeat.summary import summarize
from mls.config.sections import load as model
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.core.record import CANCELLED
from mls.core.summary import RankCost
from mls.core.units import NS_PER_MS


def with_value(column, job, value):
    records = rows(CLEAN)
    records[job][column] = value
    return to_table(records)


def test_a_clean_run_passes_every_check():
    by_check = verdicts(table(CLEAN))
    assert {check: verdict.status for check, verdict in by_check.items()} == dict.fromkeys(
        ["errors", "concurrency_held", "served_at_once", "client_kept_up", "arrival_clock", "cache_as_asked",
         "work_as_asked", "replies_sound", "replies_alike", "books_agree", "server_time_fits", "steady", "warmed_up", "quiet_host"],
        "pass",
    )  # fmt: skip
    for verdict in by_check.values():
        assert verdict.message[0].isupper()
        assert verdict.message.endswith(".")


def test_embeddings_are_judged_without_tokens_and_chunks():
    run = Run(endpoint="/v1/embeddings", inflight=4, iters=40)
    after = BEFORE | {"llamacpp:prompt_tokens_total": 500.0 + 40 * 60}
    by_check = verdicts(to_table(embeddings()), after=after, run=run)
    for check in ("work_as_asked", "books_agree", "client_kept_up", "concurrency_held", "steady"):
        assert by_check[check].status == "pass", by_check[check]
    assert "2400 prompt tokens" in by_check["books_agree"].message
    assert "chunks" not in by_check["client_kept_up"].message
    after["llamacpp:prompt_tokens_total"] += 1
    wrong = verdicts(to_table(embeddings()), after=after, run=run)["books_agree"]
    assert wrong.status == "fail"
    cut = [row | {"prompt_tokens": 20} for row in embeddings()]
    assert verdicts(to_table(cut), run=run)["work_as_asked"].status == "fail"


def test_the_published_run_of_the_seed_did_not_have_8_requests_in_flight():
    """Figures of that run: 10 requests of 4.927 s on average, 49.27 s of wall, `inflight=8`."""
    latency = round(4926.586 * NS_PER_MS)
    requests = [
        bare
        | {"start_ns": EPOCH_NS + job * latency, "scheduled_ns": EPOCH_NS + job * latency}
        | {"end_ns": EPOCH_NS + (job + 1) * latency}
        for job, bare in enumerate(rows(Load(requests=10, tokens=54, stream=False)))
    ]
    records = to_table(requests)
    run = Run(inflight=8, iters=10, max_tokens=64, ranks=2)
    summary = summarize(records, facts(8))
    assert summary.wall_s == pytest.approx(49.267, abs=0.002)
    assert summary.latency_ms.mean == pytest.approx(4926.586)
    by_check = {v.check: v for v in judge(Evidence(summary, records, run, Checks()))}
    assert by_check["concurrency_held"].status == "fail"
    assert by_check["concurrency_held"].measured == pytest.approx(1.0)
    assert "never more than 1" in by_check["concurrency_held"].message


@pytest.mark.parametrize("counted", [True, False])
def test_replies_that_lack_the_others_finish_reason_were_cut_off(counted):
    """A server that ends a stream, with `[DONE]`, when the next request comes."""
    records = rows(CLEAN)
    for record in records[::4]:
        record["finish_reason"] = None
    if not counted:
        for record in records:
            record["completion_tokens"] = None
    verdict = verdicts(to_table(records))["work_as_asked"]
    assert verdict.status == "fail"
    assert "10 of 40 replies ended without a finish reason" in verdict.message
    for record in records:
        record["finish_reason"] = None  # it never tells
    status = verdicts(to_table(records))["work_as_asked"].status
    assert status == ("pass" if counted else "unknown")


def test_places_that_wait_behind_done_name_the_server():
    """A server that holds each connection for 20 ms after `[DONE]`: its place is empty meanwhile."""
    records = rows(replace(CLEAN, late_ms=20))
    for record in records:
        record["scheduled_ns"], record["after_done_ns"] = record["start_ns"], 20 * NS_PER_MS
    verdict = verdicts(to_table(records))["concurrency_held"]
    assert verdict.status == "fail"
    assert "the server held each connection for 20 ms on average after" in verdict.message


def test_places_that_stay_empty_fail_concurrency():
    verdict = verdicts(table(replace(CLEAN, late_ms=20)))["concurrency_held"]
    assert verdict.status == "fail"
    assert verdict.measured == pytest.approx(4 * 200 / 220, rel=0.01)


def test_fewer_requests_than_places_fail_concurrency_and_say_so():
    verdict = verdicts(table(replace(CLEAN, requests=3)))["concurrency_held"]
    assert verdict.status == "fail"
    assert "only 3 requests" in verdict.message


def test_a_run_without_a_steady_window_is_warned_about():
    verdict = verdicts(table(replace(CLEAN, requests=4)))["concurrency_held"]
    assert verdict.status == "warn"
    assert "no steady window" in verdict.message


def test_a_client_that_left_places_empty_fails():
    records = [
        row | {"scheduled_ns": row["start_ns"] - (row["end_ns"] - row["start_ns"]) // 50}
        for row in rows(CLEAN)
    ]
    verdict = verdicts(to_table(records))["client_kept_up"]
    assert (verdict.status, verdict.threshold) == ("fail", 0.01)
    assert verdict.measured == pytest.approx(0.02, rel=0.01)


def test_late_reading_alone_does_not_fail_as_arrival_times_are_the_kernels():
    records = [row | {"chunk_lag_ns": [9 * NS_PER_MS] * 16} for row in rows(CLEAN)]
    assert verdicts(to_table(records))["client_kept_up"].status == "pass"


def test_a_rank_that_used_its_whole_core_fails():
    busy = RankCost(rank=1, host="h", requests=40, cpu_s=1.9, cpu_fraction=0.95)
    verdict = verdicts(table(CLEAN), per_rank=[busy])["client_kept_up"]
    assert (verdict.status, verdict.measured) == ("fail", 0.95)


def test_without_kernel_times_the_clock_is_warned_about_and_the_lag_unknown():
    by_check = verdicts(table(CLEAN), clock="user")
    assert by_check["arrival_clock"].status == "warn"
    assert by_check["client_kept_up"].status == "unknown"


def test_cached_prompts_fail_when_caching_was_off():
    verdict = verdicts(with_value("cached_tokens", 5, 59))["cache_as_asked"]
    assert verdict.status == "fail"
    assert verdict.measured == pytest.approx(59 / 2400)


def test_caching_that_was_asked_for_passes_and_is_missed_when_absent():
    run = Run(inflight=4, iters=40, max_tokens=16, cache_prompt=True)
    assert verdicts(with_value("cached_tokens", 5, 59), run=run)["cache_as_asked"].status == "pass"
    assert verdicts(table(CLEAN), run=run)["cache_as_asked"].status == "warn"


def test_cache_is_unknown_when_the_server_says_nothing():
    silent = to_table([row | {"cached_tokens": None} for row in rows(CLEAN)])
    assert verdicts(silent)["cache_as_asked"].status == "unknown"


def test_a_short_reply_fails_when_all_were_to_be_full_length():
    verdict = verdicts(with_value("completion_tokens", 5, 7))["work_as_asked"]
    assert (verdict.status, verdict.measured) == ("fail", 7)
    assert "1 of 40" in verdict.message


def test_a_short_reply_passes_when_replies_may_end():
    run = Run(inflight=4, iters=40, max_tokens=16, ignore_eos=False)
    records = with_value("completion_tokens", 5, 7)
    assert verdicts(records, run=run)["work_as_asked"].status == "pass"


def test_a_reply_longer_than_asked_fails():
    run = Run(inflight=4, iters=40, max_tokens=16, ignore_eos=False)
    records = with_value("completion_tokens", 5, 17)
    assert verdicts(records, run=run)["work_as_asked"].status == "fail"


@pytest.mark.parametrize("difference", [-1, 1])
def test_one_token_of_difference_to_the_servers_counter_fails(difference):
    key = "llamacpp:tokens_predicted_total"
    verdict = verdicts(table(CLEAN), after=AFTER | {key: AFTER[key] + difference})["books_agree"]
    assert (verdict.status, verdict.measured, verdict.threshold) == ("fail", 640, 640 + difference)


@pytest.mark.parametrize("difference", [-1, 1])
def test_one_prompt_token_of_difference_to_the_servers_counter_fails(difference):
    key = "llamacpp:prompt_tokens_total"
    verdict = verdicts(table(CLEAN), after=AFTER | {key: AFTER[key] + difference})["books_agree"]
    assert (verdict.status, verdict.measured, verdict.threshold) == (
        "fail",
        2400,
        2400 + difference,
    )
    assert "prompt tokens" in verdict.message


def test_cached_prompt_tokens_are_not_in_the_servers_counter():
    key = "llamacpp:prompt_tokens_total"
    run = Run(inflight=4, iters=40, max_tokens=16, cache_prompt=True)
    records = with_value("cached_tokens", 5, 59)
    after = AFTER | {key: AFTER[key] - 59}
    assert verdicts(records, after=after, run=run)["books_agree"].status == "pass"


def test_books_are_unknown_when_somebody_else_used_the_server():
    after = {key: value + 30 for key, value in AFTER.items()}
    verdict = verdicts(table(CLEAN), after=after)["books_agree"]
    assert verdict.status == "unknown"
    assert "somebody else" in verdict.message


@pytest.mark.parametrize(
    ("records", "before", "after"),
    [
        (table(CLEAN), None, None),
        (table(CLEAN), BEFORE, {}),
        (table(replace(CLEAN, failed={3: "timeout"})), BEFORE, AFTER),
        (table(replace(CLEAN, failed={3: CANCELLED})), BEFORE, AFTER),
        (with_value("attempts", 3, 2), BEFORE, AFTER),
        (with_value("completion_tokens", 3, None), BEFORE, AFTER),
    ],
    ids=["no metrics", "no counter", "an error", "a cancelled request", "a retry", "no usage"],
)
def test_books_are_unknown_without_what_they_need(records, before, after):
    assert verdicts(records, before, after)["books_agree"].status == "unknown"


@pytest.mark.parametrize(("count", "status"), [(0, "pass"), (1, "warn"), (3, "fail")])
def test_errors_against_the_budget(count, status):
    load = replace(CLEAN, requests=200, failed=dict.fromkeys(range(20, 20 + count), "http_503"))
    verdict = verdicts(table(load))["errors"]
    assert (verdict.status, verdict.measured) == (status, count / 200)
    assert "503" in verdict.message or not count


def test_cancelled_requests_are_neither_failures_nor_successes():
    load = replace(CLEAN, requests=40, failed={3: CANCELLED, 9: CANCELLED, 12: "reset"})
    verdict = verdicts(table(load))["errors"]
    assert verdict.measured == 1 / 38 and "2 more were cancelled" in verdict.message
    counts = summarize(table(load), facts(4)).requests
    assert (counts.total, counts.ok, counts.error, counts.cancelled) == (40, 37, 1, 2)
    assert counts.errors == {"reset": 1}
    everything = replace(CLEAN, failed=dict.fromkeys(range(CLEAN.requests), CANCELLED))
    assert verdicts(table(everything))["errors"].status == "fail"


def test_no_request_at_all_fails():
    assert verdicts(to_table([]))["errors"].status == "fail"


def test_worst():
    assert worst(["pass", "unknown", "warn"]) == "warn"
    assert worst(["pass", "fail", "unknown"]) == "fail"
    assert worst([]) == "unknown"


def test_the_first_request_at_each_place_does_not_hide_that_the_next_ones_are_late():
    """Of 24 requests at 16 in flight, 8 followed another and were late by 2 % of the latency.

    The mean over all 24 says 0.7 %.
    """
    load = Load(places=16, requests=24, tokens=16)
    late = 0.02 * (load.ttft_ms + 15 * load.itl_ms)
    records = rows(load)
    for row in records[16:]:
        for column in ("start_ns", "first_chunk_ns", "last_chunk_ns", "end_ns"):
            row[column] += round(late * NS_PER_MS)
    by_check = verdicts(
        to_table(records), before=None, run=Run(inflight=16, iters=24, max_tokens=16)
    )
    assert by_check["client_kept_up"].status == "fail"
    assert by_check["client_kept_up"].measured == pytest.approx(0.02, rel=0.05)


def test_a_run_of_one_round_does_not_tell_whether_the_client_keeps_up():
    load = Load(places=16, requests=16, tokens=16)
    by_check = verdicts(table(load), before=None, run=Run(inflight=16, iters=16, max_tokens=16))
    assert by_check["client_kept_up"].status == "unknown"
    assert "run.rounds" in by_check["client_kept_up"].message


@pytest.mark.parametrize(
    ("column", "check"),
    [("cached_tokens", "cache_as_asked"), ("completion_tokens", "work_as_asked")],
)
def test_what_some_replies_do_not_say_is_unknown(column, check):
    records = rows(CLEAN)
    for row in records[:39]:
        row[column] = None
    verdict = verdicts(to_table(records), before=None)[check]
    assert verdict.status == "unknown"
    assert "39 of 40" in verdict.message


def test_a_fault_in_the_replies_that_speak_is_seen_beside_silent_ones():
    records = rows(CLEAN)
    records[0]["cached_tokens"] = None
    records[1]["cached_tokens"] = 20
    records[2]["completion_tokens"] = None
    records[3]["completion_tokens"] = 5
    by_check = verdicts(to_table(records), before=None)
    assert by_check["cache_as_asked"].status == by_check["work_as_asked"].status == "fail"


def test_prompts_of_which_some_have_no_count_are_unknown():
    records = [row | {"prompt_tokens_asked": 60} for row in rows(CLEAN)]
    records[5]["prompt_tokens"] = None
    verdict = verdicts(to_table(records), before=None)["prompts_as_asked"]
    assert (verdict.status, "1 of 40" in verdict.message) == ("unknown", True)


def test_requests_behind_a_cap_do_not_tell_whether_the_client_was_late():
    records = rows(CLEAN)
    summary = summarize(to_table(records), facts(4, steady=False))
    load = model.Load(kind="poisson", rate=10, max_inflight=4)
    run = Run(inflight=4, iters=40, max_tokens=16)
    by_check = {
        v.check: v for v in judge(Evidence(summary, to_table(records), run, Checks(), load=load))
    }
    assert by_check["client_kept_up"].status == "unknown"
    assert "max_inflight" in by_check["client_kept_up"].message
