"""Loads that leave places empty: do server and users keep up, and are lengths right?"""

import numpy as np
import pytest
from tests.unit.synthetic import EPOCH_NS, Load, facts, rows, to_table

from mls.analysis.checks.registry import judge
from mls.analysis.repeat.breakdown import parts
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import summarize
from mls.config.sections import load as model
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.record import CANCELLED
from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.workload.schedule import schedule

SERVICE_S = 0.1


def server_records(load, seed, requests=300, limit_s=None):
    """Records of a server that serves one request at a time, 100 ms each."""
    due = schedule(load, seed, requests, None, None).at_ns
    records, free = [], 0
    for row, at in zip(rows(Load(requests=len(due), places=1)), due.tolist(), strict=True):
        free = max(free, at) + round(SERVICE_S * NS_PER_S)
        end = free if limit_s is None else min(free, round(limit_s * NS_PER_S))
        error = "unfinished" if end < free else None
        times = {"scheduled_ns": at, "start_ns": at, "first_chunk_ns": end, "last_chunk_ns": end}
        times = {key: EPOCH_NS + ns for key, ns in (times | {"end_ns": end}).items()}
        chunks = {"chunk_ns": [EPOCH_NS + end], "chunk_lag_ns": [0], "chunk_merged": [False]}
        records.append(row | times | chunks | {"error": error, "chunks": 1, "connected_ns": None})
    return to_table(records)


def verdicts(table, load=None, workload=None, inflight=4):
    load, workload = load or model.Load(), workload or Workload()
    summary = summarize(table, facts(inflight, steady=False))
    run = Run(inflight=inflight, max_tokens=16)
    judgement = judge(
        Evidence(
            summary,
            table,
            run,
            Checks(),
            load=load,
            workload=workload,
        )
    )
    return {verdict.check: verdict for verdict in judgement}


def poisson(rate):
    return model.Load(kind="poisson", rate=rate)


@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("rate", [2.0, 5.0, 8.0])
def test_a_server_that_keeps_up_passes(rate, seed):
    by_check = verdicts(server_records(poisson(rate), seed), poisson(rate))
    assert by_check["server_kept_up"].status == "pass", by_check["server_kept_up"]
    assert "concurrency_held" not in by_check


@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("rate", [15.0, 30.0])
def test_a_server_that_falls_behind_fails_and_says_by_how_much(rate, seed):
    verdict = verdicts(server_records(poisson(rate), seed), poisson(rate))["server_kept_up"]
    assert verdict.status == "fail" and "The queue grew" in verdict.message
    assert verdict.measured == pytest.approx(1 - 1 / (rate * SERVICE_S), abs=0.12)


def test_what_was_cut_off_at_the_end_counts():
    load = poisson(30.0)
    verdict = verdicts(server_records(load, 1, limit_s=12), load)["server_kept_up"]
    assert verdict.status == "fail" and "requests were not complete" in verdict.message


def test_few_arrivals_tell_nothing():
    by_check = verdicts(server_records(poisson(5.0), 1, requests=4), poisson(5.0))
    assert by_check["server_kept_up"].status == "unknown"


def test_the_window_of_an_open_loop_is_from_the_first_start_to_the_last():
    table = server_records(poisson(5.0), 1)
    summary = summarize(table, facts(4, steady=False))
    start = table["start_ns"].to_numpy()
    assert summary.window_s == pytest.approx((start.max() - start.min()) / NS_PER_S)
    assert summary.throughput.requests_per_s == pytest.approx(5, rel=0.15)


def test_an_open_loop_that_never_takes_all_its_connections_has_a_window_to_judge():
    load = poisson(2.0)
    by_check = verdicts(server_records(load, 1, requests=1200), load, inflight=64)
    assert by_check["steady"].status == by_check["warmed_up"].status == "pass"


def test_a_load_that_is_meant_to_change_is_not_called_unsteady():
    stages = [{"kind": "constant", "rate": 2.0, "rate_to": 20.0, "duration_s": 20.0}]
    ramp = model.Load(kind="stages", stages=stages)
    table = server_records(ramp, 1, requests=None)
    assert not {"steady", "warmed_up"} & set(verdicts(table, ramp))
    assert verdicts(table, poisson(11.0))["steady"].status == "fail"


def talks(places, sessions, drift):
    """Records of `places` users with `sessions` conversations each, one after another.

    Each of four turns takes twice as long as the turn before. Each session takes longer than the
    session before by the share `drift` of the first.
    """
    free, records = [EPOCH_NS] * places, []
    for job, row in enumerate(rows(Load(requests=places * sessions * 4, noise=0.2))):
        place, of_place = job % places, job // places
        session, turn = divmod(of_place, 4)
        duration_ns = round((row["end_ns"] - row["start_ns"]) * 2**turn * (1 + drift * session))
        times = {"scheduled_ns": free[place], "start_ns": free[place]}
        free[place] += duration_ns
        records.append(row | times | {"end_ns": free[place], "slot": place, "turn": turn})
    return to_table(records)


@pytest.mark.parametrize(
    "table, status", [(talks(6, 3, 0.0), "pass"), (talks(1, 12, 0.05), "fail")]
)
def test_the_turns_of_conversations_are_compared_with_their_like(table, status):
    inflight = len(set(table["slot"].to_pylist()))
    by_check = verdicts(table, workload=Workload(kind="conversation", turns=4), inflight=inflight)
    assert by_check["steady"].status == status, by_check["steady"]


@pytest.mark.parametrize(
    "late_ms, requests, status",
    [(0.0, 240, "pass"), (400.0, 240, "fail"), (400.0, 120, "fail"), (0.0, 120, "unknown")],
)
def test_users_who_think_are_in_flight_as_their_latency_allows(late_ms, requests, status):
    """With 200 ms of latency and 400 ms of thinking, a third of the users is in flight."""
    think_ms = 400.0
    records = [
        row | {"scheduled_ns": row["scheduled_ns"] + round(think_ms * NS_PER_MS)}
        for row in rows(Load(places=6, requests=requests, late_ms=think_ms + late_ms))
    ]
    by_check = verdicts(to_table(records), model.Load(think_s=think_ms / 1000), inflight=6)
    assert by_check["concurrency_held"].status == status, by_check["concurrency_held"]


@pytest.mark.parametrize("late_ms, status", [(0.0, "pass"), (400.0, "fail")])
def test_users_without_a_conversation_left_are_none(late_ms, status):
    """Three conversations have 60 turns, the fourth has 10, and there is no fifth."""
    records = []
    row = rows(Load(places=1, requests=1))[0]
    for place, turns in enumerate((60, 60, 10, 60)):
        free = EPOCH_NS
        for turn in range(turns):
            due = free + 400 * NS_PER_MS * (turn > 0)
            start = due + round(late_ms * NS_PER_MS)
            free = start + 200 * NS_PER_MS
            times = {"scheduled_ns": due, "start_ns": start, "end_ns": free, "after_done_ns": 0}
            records.append(row | times | {"slot": place, "session": place, "turn": turn})
    by_check = verdicts(to_table(records), model.Load(think_s=0.4), inflight=4)
    assert by_check["concurrency_held"].status == status, by_check["concurrency_held"]
    assert "as conversations ran out" in by_check["concurrency_held"].message


@pytest.mark.parametrize("late_ms, status", [(0.0, "pass"), (400.0, "fail")])
def test_drawn_pauses_are_those_between_a_reply_and_the_next_request(late_ms, status):
    """The mean of the pauses that were drawn counts, not that of their distribution (10 s)."""
    records = rows(Load(places=6, requests=240, late_ms=400.0 + late_ms))
    by_place = {}
    for row in records:
        before = by_place.get(row["slot"])
        row["after_done_ns"] = 0
        if before is not None:
            row["scheduled_ns"] = before["end_ns"] + 400 * NS_PER_MS
        by_place[row["slot"]] = row
    think = {"distribution": "lognormal", "mean": 10, "std": 5}
    by_check = verdicts(
        to_table(records), model.Load.model_validate({"think_s": think}), inflight=6
    )
    assert by_check["concurrency_held"].status == status, by_check["concurrency_held"]
    assert "pause of 0.4 s" in by_check["concurrency_held"].message


@pytest.mark.parametrize("late_ms, status", [(0.0, "pass"), (400.0, "fail")])
def test_users_who_leave_are_in_flight_until_then(late_ms, status):
    """Half of the requests are cancelled after 50 of 200 ms: by the latency of the others more users
    would be in flight than there can be."""
    think_ns, late_ns = 400 * NS_PER_MS, round(late_ms * NS_PER_MS)
    free, records = [EPOCH_NS] * 6, []
    for job, row in enumerate(rows(Load(places=6, requests=480))):
        place, leaves = job % 6, job // 6 % 2
        scheduled = free[place] + think_ns
        start = scheduled + late_ns
        free[place] = start + (50 if leaves else 200) * NS_PER_MS
        times = {"slot": place, "scheduled_ns": scheduled, "start_ns": start}
        row |= times | {"end_ns": free[place], "error": CANCELLED if leaves else None}
        records.append(row)
    by_check = verdicts(to_table(records), model.Load(think_s=0.4), inflight=6)
    assert by_check["concurrency_held"].status == status, by_check["concurrency_held"]


@pytest.mark.parametrize("off, status", [(0, "pass"), (3, "warn"), (30, "fail"), (-1, "warn")])
def test_prompts_are_compared_with_what_was_asked_for(off, status):
    records = [row | {"prompt_tokens_asked": 60} for row in rows(Load(requests=20))]
    records[7]["prompt_tokens"] += off
    verdict = verdicts(to_table(records))["prompts_as_asked"]
    assert verdict.status == status and verdict.measured == pytest.approx(abs(off) / 60)


def test_prompts_without_a_length_are_not_judged():
    assert "prompts_as_asked" not in verdicts(to_table(rows(Load())))


def test_replies_are_compared_with_what_each_was_asked_for():
    lengths = [8, 16] * 10
    records = [
        row | {"completion_tokens_asked": n, "completion_tokens": n}
        for row, n in zip(rows(Load(requests=20)), lengths, strict=True)
    ]
    assert verdicts(to_table(records))["work_as_asked"].status == "pass"
    records[3]["completion_tokens"] -= 1
    verdict = verdicts(to_table(records))["work_as_asked"]
    assert verdict.status == "fail" and verdict.message.startswith("1 of 20 replies are shorter")


def test_parts_are_the_requests_of_each_stage():
    records = [row | {"stage": int(job >= 15)} for job, row in enumerate(rows(Load(requests=40)))]
    stages = parts([to_table(records), to_table(records)], "stage")
    assert [(part.number, part.requests) for part in stages] == [(1, 30), (2, 50)]
    assert stages[0].ttft_ms.p50 == pytest.approx(50) and stages[0].cached_tokens == 0
    due = np.array([row["scheduled_ns"] for row in records[15:]])
    assert stages[1].arrivals_per_s == pytest.approx(24 / ((due.max() - due.min()) / NS_PER_S))
    assert parts([to_table(rows(Load()))], "turn") == []


def test_arrivals_too_few_to_have_shown_a_backlog_are_unknown():
    """A server that falls behind by a tenth leaves 4 of 40 arrivals, and so may chance."""
    verdict = verdicts(server_records(poisson(9.0), 3, requests=40), poisson(9.0))["server_kept_up"]
    assert verdict.status == "unknown"
    assert "arrivals" in verdict.message and "run.iters" in verdict.message
