"""Open loops: each request is due as the schedule plans, whatever the server does."""

import itertools
import time
from collections import Counter

import numpy as np
import pytest
from tests.faults.driving import harvest, spec
from tests.servers.misbehaving import Misbehaving, good

from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.load.transport.epoll import EpollTransport
from mls.load.workload.schedule import schedule
from mls.protocol.request import Target

pytestmark = pytest.mark.timeout(60)
SEED = 7


def gather(url, load, **run):
    options = {"inflight": 2, "ranks": 1, "iters": 30, "warmup": 1, "timeout_s": 10} | run
    run_spec = spec([Target(url)], Run(**options), seed=SEED, load=load)
    return harvest(run_spec).table.to_pylist()


def offsets(rows):
    due = np.array([row["scheduled_ns"] for row in rows])
    return due - due[0]


def most_at_once(rows):
    requests = [row for row in rows if row["start_ns"]]
    steps = [(row["start_ns"], 1) for row in requests] + [(row["end_ns"], -1) for row in requests]
    return max(itertools.accumulate(step for _, step in sorted(steps)))


@pytest.mark.parametrize(
    "load",
    [
        Load(kind="poisson", rate=300.0),
        Load(kind="burst", burst=10, every_s=0.05),
        Load.model_validate(
            {
                "kind": "stages",
                "stages": [
                    {"kind": "constant", "rate": 100.0, "duration_s": 0.1},
                    {"kind": "poisson", "rate": 100.0, "rate_to": 300.0, "duration_s": 0.1},
                ],
            }
        ),
    ],
    ids=lambda load: load.kind,
)
def test_arrivals_are_the_schedule_and_none_is_lost(load):
    requests = None if load.stages else 30
    plan = schedule(load, SEED, requests, None, None)
    with Misbehaving() as server:
        rows = gather(server.url, load, iters=requests)
    assert [row["job"] for row in rows] == list(range(len(plan)))
    assert (offsets(rows) == plan.at_ns - plan.at_ns[0]).all()
    assert all(row["error"] is None and row["start_ns"] >= row["scheduled_ns"] for row in rows)
    assert [row["stage"] for row in rows] == (plan.stage.tolist() if load.stages else [None] * 30)


def holds(talk, request):
    if request.job < 0:
        good(talk, request)
    else:
        talk.hold()


def test_places_are_opened_as_needed_and_what_is_not_answered_is_unfinished():
    load = Load(kind="constant", rate=200.0, drain_s=0.3)
    with Misbehaving(default=holds) as server:
        rows = gather(server.url, load, iters=12)
    assert {row["slot"] for row in rows} == set(range(12))
    assert Counter(row["error"] for row in rows) == {"unfinished": 12}
    assert most_at_once(rows) == 12


def test_behind_the_cap_arrivals_wait_and_keep_their_time():
    load = Load(kind="burst", burst=12, every_s=1.0, max_inflight=3)
    with Misbehaving() as server:
        rows = gather(server.url, load, iters=12)
    assert most_at_once(rows) == 3
    assert len({row["scheduled_ns"] for row in rows}) == 1
    assert sum(row["start_ns"] > rows[0]["scheduled_ns"] for row in rows) >= 9
    assert all(row["error"] is None for row in rows)


def test_what_the_cap_held_back_until_the_end_is_in_the_records():
    load = Load(kind="constant", rate=200.0, max_inflight=3, drain_s=0.2)
    with Misbehaving(default=holds) as server:
        rows = gather(server.url, load, iters=10)
    assert len(rows) == 10 and {row["error"] for row in rows} == {"unfinished"}
    assert sum(row["start_ns"] is None for row in rows) == 7


def test_users_think_between_two_requests():
    with Misbehaving() as server:
        rows = gather(server.url, Load(think_s=0.05), iters=8)
    for slot in (0, 1):
        mine = sorted((r for r in rows if r["slot"] == slot), key=lambda row: row["start_ns"])
        for before, after in itertools.pairwise(mine):
            free_ns = before["end_ns"] + before["after_done_ns"]
            assert after["scheduled_ns"] - free_ns == 50_000_000
            assert after["start_ns"] >= after["scheduled_ns"]


def test_what_is_due_is_sent_between_two_reads_that_are_ready_together(monkeypatch):
    readable, start = EpollTransport._readable, EpollTransport.start
    log = []

    def slow_read(self, connection):
        """A read that lasts until the next arrival is due."""
        log.append("read")
        readable(self, connection)
        while (self._pacing.source.next_ns or 0) > time.monotonic_ns():
            time.sleep(0.001)

    def logging_start(self, connection, job, scheduled_ns):
        log.append("start")
        start(self, connection, job, scheduled_ns)

    monkeypatch.setattr(EpollTransport, "_readable", slow_read)
    monkeypatch.setattr(EpollTransport, "start", logging_start)
    burst = {"kind": "burst", "burst": 8, "every_s": 1.0, "duration_s": 0.02}
    tail = {"kind": "constant", "rate": 50.0, "duration_s": 0.16}
    with Misbehaving() as server:
        gather(server.url, Load(kind="stages", stages=[burst, tail]), iters=None, warmup=0)
    assert log.count("start") == 16
    last_start = len(log) - log[::-1].index("start")
    assert ("read", "read") not in itertools.pairwise(log[:last_start])
