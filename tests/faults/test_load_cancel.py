"""Requests that the client hangs up on: at their moments, once each, and to nobody else's harm."""

import time

import pytest
from tests.faults.driving import assert_good, both, gather, rows
from tests.servers.behaviours import sends
from tests.servers.misbehaving import Misbehaving, chunk, events, reply, stream_head
from tests.unit.synthetic import facts

from mls.analysis.repeat.summary import summarize
from mls.commands.no_result import no_result
from mls.config.sections.run import Cancel
from mls.core.units import NS_PER_S
from mls.load.cancellation import Cancellations

pytestmark = pytest.mark.timeout(60)
AFTER_S = 0.2
AFTER_NS = int(AFTER_S * NS_PER_S)
SEED = 1  # of `driving.spec`


def cancelled_jobs(share, count):
    plan = Cancellations(Cancel(share=share, after_s=AFTER_S), SEED)
    return {job for job in range(count) if plan.after_ns(job) is not None}


def begins_and_holds(talk, request):
    talk.send(stream_head() + chunk(events()[0]))
    talk.hold()


@both
def test_is_hung_up_at_its_moment_with_what_had_come_and_the_place_goes_on(transport):
    jobs = cancelled_jobs(0.5, 6)
    assert 0 < len(jobs) < 6
    with Misbehaving(dict.fromkeys(jobs, begins_and_holds)) as server:
        records = rows(server.url, transport=transport, cancel={"share": 0.5, "after_s": AFTER_S})
    assert len(records) == 6
    for row in records:
        if row["job"] in jobs:
            assert row["error"] == "cancelled" and row["chunks"] == 1, row
            assert row["cancel_after_ns"] == AFTER_NS and row["attempts"] == 1
            assert row["end_ns"] - row["start_ns"] >= AFTER_NS
            assert row["completion_tokens"] is None
        else:
            assert_good(row)
            assert row["cancel_after_ns"] is None


@both
def test_a_request_that_is_complete_before_its_moment_is_an_ordinary_one(transport):
    begin = time.monotonic()
    with Misbehaving({}) as server:
        records = rows(server.url, transport=transport, cancel={"share": 1.0, "after_s": 50.0})
    assert time.monotonic() - begin < 50  # nothing waits for moments that no request needs any more
    for row in records:
        assert_good(row)
        assert row["cancel_after_ns"] == 50 * NS_PER_S


@both
def test_no_retry_follows_on_a_request_that_waits_for_one(transport):
    busy = reply(b"busy", status="503 Service Unavailable", retry_after="1")
    with Misbehaving({0: sends(busy)}) as server:
        records = rows(
            server.url, transport=transport, iters=1, cancel={"share": 1.0, "after_s": AFTER_S}
        )
        jobs = server.jobs
    (row,) = records
    assert row["error"] == "cancelled" and row["end_ns"] - row["start_ns"] < NS_PER_S
    assert jobs.count(0) == 1


@pytest.mark.parametrize(
    "refused, sentence",
    [
        ([], "All 6 requests were cancelled before their replies were complete"),
        ([0], "None of 6 requests succeeded (1 × http_400, and 5 were cancelled). The first error said: no"),
    ],
    ids=["all cancelled", "the other one failed"],
)  # fmt: skip
def test_without_a_complete_reply_the_reason_names_the_cancellation(refused, sentence):
    behaviours = dict.fromkeys(refused, sends(reply(b"no", status="400 Bad Request")))
    with Misbehaving(behaviours, default=begins_and_holds) as server:
        harvest = gather(server.url, cancel={"share": 1.0, "after_s": AFTER_S})
    problem = no_result(harvest, summarize(harvest.table, facts(2)))
    assert problem is not None and problem.startswith(sentence)
