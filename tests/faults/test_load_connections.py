"""Connections: opened before the load, kept, closed by the server, replaced; and their clocks."""

import pytest
from tests.faults.driving import assert_good, both, gather, only, rows
from tests.servers.behaviours import closes, once, resets
from tests.servers.misbehaving import (
    TOKENS,
    Misbehaving,
    chunk,
    chunked,
    events,
    good,
    reply,
    stream_head,
)

from mls.core.errors import UserError
from mls.core.units import NS_PER_S
from mls.load.transport import timestamps
from mls.load.transport.timestamps import supported

pytestmark = pytest.mark.timeout(60)
BAD = 2  # the job that the server mistreats


@both
def test_keep_alive_connection_that_was_closed_is_not_an_error(transport):
    def good_then_close(talk, request):
        good(talk, request)
        talk.close()

    with Misbehaving(default=good_then_close) as server:
        records = rows(server.url, transport=transport, iters=12)
    for row in records:
        assert_good(row)
    assert sorted(server.jobs) == list(range(12))  # each got one reply
    assert server.connections >= 12


def test_reconnect_is_counted_and_timed_from_the_first_attempt():
    with Misbehaving({BAD: once(closes)}) as server:
        row = only(rows(server.url), BAD)
    assert_good(row)
    assert (row["attempts"], row["reconnects"]) == (1, 1)
    assert row["start_ns"] < row["connected_ns"] < row["chunk_ns"][0]
    assert server.jobs.count(BAD) == 2


def test_no_retries_still_reconnects():
    with Misbehaving({BAD: once(closes), 4: resets}) as server:
        records = rows(server.url, retries=0)
    assert [row["error"] for row in records] == [None, None, None, None, "reset", None]


def test_a_reply_that_came_before_the_request_was_sent():
    """The connection is replaced: the rest of the body would be taken for the next request."""

    def too_large(talk, request):
        talk.send(reply(b'{"error":{"message":"too large"}}', "413 Content Too Large"))
        talk.body(request.headers)

    with Misbehaving(default=too_large, receive_buffer=4096, read_bodies=False) as server:
        records = rows(
            server.url, inflight=1, iters=3, request_extra={"pad": "x" * 20_000_000}, timeout_s=20
        )
    assert [row["error"] for row in records] == ["http_413"] * 3
    assert [row["job"] for row in records] == server.jobs
    assert server.connections == 3


def test_a_connection_that_closes_after_any_byte_of_a_reply():
    """Each job's reply is one byte longer than the last; one with all of `[DONE]` is whole."""
    data = chunked(*events())
    marker_end = data.index(b"[DONE]") + len(b"[DONE]")
    token_ends, at = [], len(stream_head())
    for event in events()[: len(TOKENS)]:
        # an event counts once its JSON is whole, without the end of its line
        token_ends.append(at + len(chunk(event)) - len(b"\n\n\r\n"))
        at += len(chunk(event))

    def cuts(talk, request):
        talk.send(data[: request.job + 1])
        talk.close()

    with Misbehaving(default=cuts) as server:
        records = rows(server.url, inflight=4, iters=len(data))
    assert_good(records.pop())
    for row in records:
        chunks = sum(end <= row["job"] + 1 for end in token_ends)
        error = "closed_early" if row["job"] + 1 < marker_end else None
        assert (row["error"], row["chunks"]) == (error, chunks)


def test_one_connection_a_request():
    with Misbehaving() as server:
        records = rows(server.url, reuse_connections=False)
    for row in records:
        assert_good(row)
        assert row["start_ns"] < row["connected_ns"] < row["chunk_ns"][0]
        assert row["reconnects"] == 0
    assert server.connections == 2 + 6
    assert {request.headers["connection"] for request in server.requests} == {"close"}


def test_connections_are_opened_before_the_load():
    with Misbehaving() as server:
        records = rows(server.url, inflight=3, warmup=4)
    assert server.connections == 3
    assert [row["connected_ns"] for row in records] == [None] * 6
    assert sorted(server.jobs) == [-4, -3, -2, -1, 0, 1, 2, 3, 4, 5]


def test_clock_is_named():
    with Misbehaving() as server:
        kernel = "kernel" if supported() else "user"
        for transport, clock in (("epoll", kernel), ("requests", "user")):
            assert gather(server.url, transport=transport).ranks[0]["clock"] == clock


@pytest.mark.parametrize("step_ns", [3600 * NS_PER_S, -3600 * NS_PER_S])
def test_wall_clock_set_in_mid_run_makes_no_impossible_times(monkeypatch, step_ns):
    """Until the client notices the step, the kernel's times are off by an hour."""
    offset_ns = timestamps._offset_ns
    monkeypatch.setattr(timestamps, "_offset_ns", lambda: offset_ns() + step_ns)
    with Misbehaving() as server:
        for row in rows(server.url):
            assert_good(row)
            assert row["end_ns"] - row["start_ns"] < 60 * NS_PER_S


@both
def test_unix_socket(tmp_path, transport):
    """The kernel gives no timestamps there, so the clock is `user`."""
    with Misbehaving(host=str(tmp_path / "llama.sock")) as server:
        harvest = gather(server.url, transport=transport)
        assert server.requests[0].headers["host"] == "localhost"
    assert harvest.ranks[0]["clock"] == "user"
    for row in harvest.table.to_pylist():
        assert_good(row)


@both
def test_unix_socket_that_is_not_there(tmp_path, transport):
    with pytest.raises(UserError, match="can't be reached"):
        gather(f"http+unix://{str(tmp_path).replace('/', '%2F')}%2Fnone.sock", transport=transport)


def test_a_proxy_is_asked_for_the_whole_url():
    with Misbehaving() as proxy:
        for row in rows("http://llm.example:81", proxy=proxy.url, transport="requests"):
            assert_good(row)
        assert {request.headers["host"] for request in proxy.requests} == {"llm.example:81"}


def test_a_system_without_epoll_is_told(monkeypatch):
    monkeypatch.delattr("select.epoll")
    with pytest.raises(UserError, match=r"run\.transport: epoll needs Linux"):
        rows("http://127.0.0.1:9")
