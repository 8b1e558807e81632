"""Several servers: the requests and connections of each, and the effect of one on the others."""

import socket
from collections import Counter
from types import SimpleNamespace

import pytest
from tests.faults.driving import assert_good, both, harvest, spec
from tests.servers.misbehaving import Misbehaving, chunk, chunked, events, good, stream_head

from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.builder import Materials
from mls.load.workload.calibration import Calibration
from mls.protocol.prompts import WORDS
from mls.protocol.request import Target

CALIBRATION = Calibration(words=tuple(WORDS), overhead=10, per_word=1, exact=True)
pytestmark = pytest.mark.timeout(60)


def rows(servers, policy="round_robin", load=None, workload=None, **run):
    """Records of a run against these servers; by default 12 requests, 4 in flight."""
    options = {"inflight": 4, "ranks": 1, "iters": 12, "warmup": 0, "timeout_s": 10} | run
    targets = [Target(server.url) for server in servers]
    run_spec = spec(
        targets,
        Run(**options),
        load=load,
        workload=workload,
        materials=Materials(CALIBRATION),
        policy=policy,
    )
    return harvest(run_spec).table.to_pylist()


def slow(talk, request):
    talk.server.over.wait(0.3)
    good(talk, request)


def assert_recorded(records, servers):
    """Each request reached the server that its record names, and no other."""
    for number, server in enumerate(servers):
        jobs = [row["job"] for row in records if row["server"] == number]
        assert sorted(jobs) == sorted({*server.jobs})


@both
def test_each_in_turn(transport):
    with Misbehaving() as one, Misbehaving() as two, Misbehaving() as three:
        servers = [one, two, three]
        records = rows(servers, transport=transport)
        for row in records:
            assert_good(row)
            assert row["server"] == row["job"] % 3
        assert_recorded(records, servers)
        for server in servers:
            assert {request.headers["host"] for request in server.requests} == {
                f"127.0.0.1:{server.port}"
            }


def test_connections_are_kept_for_whoever_goes_there_next():
    with Misbehaving() as one, Misbehaving() as two:
        records = rows([one, two], iters=60)
        # at most as many as requests in flight, and far fewer than requests
        assert one.connections <= 4 and two.connections <= 4
    assert sum(row["connected_ns"] is not None for row in records) <= 8
    assert [row["reconnects"] for row in records] == [0] * 60


def test_a_connection_that_its_server_closed_meanwhile_is_not_used():
    def closes(talk, request):
        talk.send(chunked(*events()))
        talk.close()  # without `Connection: close`

    with Misbehaving() as one, Misbehaving(default=closes) as two:
        records = rows([one, two], iters=30)
    for row in records:
        assert_good(row)


@both
def test_least_outstanding_spares_the_slow_one(transport):
    with Misbehaving() as one, Misbehaving(default=slow) as two:
        records = rows([one, two], "least_outstanding", iters=40, transport=transport)
        assert_recorded(records, [one, two])
    counts = Counter(row["server"] for row in records)
    assert counts[0] > 2 * counts[1] >= 2


@both
def test_one_that_is_gone_fails_its_own_requests_only(transport):
    def last(talk, request):
        good(talk, request)
        talk.server.vanish()

    def too_late(talk, request):
        talk.hold()  # its connection is closed when the server vanishes

    with Misbehaving() as one, Misbehaving({1: last}, default=too_late) as two:
        records = rows([one, two], inflight=2, iters=20, retries=0, transport=transport)
    for row in records:
        if row["server"] == 0 or row["job"] == 1:
            assert_good(row)
        else:
            assert row["error"] in ("refused", "reset", "closed_early")
    assert [row["job"] for row in records] == list(range(20))
    assert sorted(one.jobs) == [row["job"] for row in records if row["server"] == 0]


@both
def test_one_that_is_not_there_is_one_sentence(transport):
    with Misbehaving() as one, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # and nobody listens
        two = SimpleNamespace(url=f"http://127.0.0.1:{holder.getsockname()[1]}")
        with pytest.raises(UserError, match=two.url):
            rows([one, two], inflight=1, transport=transport)
    assert one.requests == []


def test_a_conversation_stays_on_its_server():
    workload = Workload(kind="conversation", turns=3)
    with Misbehaving() as one, Misbehaving() as two:
        records = rows([one, two], "sticky", workload=workload, iters=6, inflight=2)
        assert_recorded(records, [one, two])
    assert len(records) == 18
    servers = {}
    for row in records:
        assert_good(row)
        servers.setdefault(row["session"], set()).add(row["server"])
    assert sorted(servers.values(), key=min) == [{0}] * 3 + [{1}] * 3


def test_an_open_loop_goes_to_all_of_them():
    load = Load.model_validate({"kind": "constant", "rate": 100.0})
    with Misbehaving() as one, Misbehaving(default=slow) as two:
        records = rows([one, two], load=load, iters=20)
        assert_recorded(records, [one, two])
    for row in records:
        assert_good(row)
    assert Counter(row["server"] for row in records) == {0: 10, 1: 10}


def test_a_reply_that_stalls_at_one_server_keeps_nobody_else_waiting():
    def stalls(talk, request):
        talk.send(stream_head() + chunk(events()[0]))
        talk.hold()

    with Misbehaving() as one, Misbehaving({3: stalls}) as two:
        records = rows([one, two], timeout_s=1)
    for row in records:
        if row["job"] == 3:
            assert (row["error"], row["server"]) == ("timeout", 1)
        else:
            assert_good(row)


def test_one_server_has_no_number():
    with Misbehaving() as only:
        assert {row["server"] for row in rows([only])} == {None}
