"""Limits on connecting, on the first token and on silence: each ends its own delay, by its name."""

import contextlib
import socket
import threading
import time

import pytest
from tests.faults.driving import assert_good, both, gather, only, rows
from tests.servers.certificates import certificate
from tests.servers.misbehaving import Misbehaving, chunk, chunked, events, good, reply, stream_head

from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.transport import retry
from mls.load.transport.epoll import EpollTransport

pytestmark = pytest.mark.timeout(60)
BAD = 2
PING = chunk(b": ping\n\n")
ROLE = chunk(b'data: {"choices": [{"delta": {"role": "assistant", "content": null}}]}\n\n')
TOKEN = chunk(events()[0])


def rest(talk):
    talk.send(b"".join(map(chunk, events()[1:])) + b"0\r\n\r\n")


@contextlib.contextmanager
def full(port):
    """A listener whose backlog is full and which nobody accepts from: connecting gets no answer."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        else:
            pytest.skip("this kernel takes connections beyond the backlog")
        yield


def goes_deaf(stack):
    """A good reply, after which no new connection reaches the server."""

    def behave(talk, request):
        talk.server.deafen()
        stack.enter_context(full(talk.server.port))
        good(talk, request)
        talk.close()

    return behave


@both
def test_connection_that_takes_too_long(transport):
    with contextlib.ExitStack() as stack, Misbehaving({1: goes_deaf(stack)}) as server:
        run = {"inflight": 1, "iters": 3, "timeout_connect_s": 0.3, "transport": transport}
        records = rows(server.url, **run)
    for row in records[:2]:
        assert_good(row)
    late = records[2]
    assert (late["error"], late["status"], late["connected_ns"]) == ("timeout_connect", None, None)
    assert late["error_text"] == "no connection within 0.3 s"
    # a limit that strikes ends the request; `requests` may first have sent it on the connection that
    # was about to close, which it can't tell from an attempt
    assert late["attempts"] <= (2 if transport == "requests" else 1)
    assert late["end_ns"] - late["start_ns"] >= 300 * NS_PER_MS


@both
def test_server_that_no_connection_reaches_is_given_up_on(monkeypatch, transport):
    monkeypatch.setattr(retry, "GONE_AFTER_NS", 500 * NS_PER_MS)
    with contextlib.ExitStack() as stack, Misbehaving({1: goes_deaf(stack)}) as server:
        run = {"inflight": 1, "iters": 1000, "timeout_connect_s": 0.2, "transport": transport}
        harvest = gather(server.url, **run)
    assert harvest.ranks[0]["gone"].startswith(f"The server at {server.url} has gone")
    assert harvest.table["error"].to_pylist()[2:4] == ["timeout_connect"] * 2
    assert harvest.table.num_rows < 100


def test_first_token_that_does_not_come():
    """Headers, a role and pings are no token."""

    def pings(talk, request):
        talk.send(stream_head() + ROLE)
        while not talk.server.over.is_set():
            talk.send(PING, pause_s=0.05)

    with Misbehaving({BAD: pings}) as server:
        row = only(rows(server.url, timeout_first_token_s=0.5), BAD)
    assert (row["error"], row["status"], row["chunks"]) == ("timeout_first_token", 200, 0)
    assert row["error_text"] == "no token within 0.5 s"
    assert row["end_ns"] - row["start_ns"] >= 500 * NS_PER_MS


def test_no_word_at_all_is_no_first_token():
    with Misbehaving({BAD: lambda talk, request: talk.hold()}) as server:
        row = only(rows(server.url, timeout_first_token_s=0.5), BAD)
    assert (row["error"], row["status"], row["attempts"]) == ("timeout_first_token", None, 1)


def test_first_token_is_waited_for_over_all_attempts():
    busy = reply(b"", "429 Too Many Requests", retry_after="50")
    with Misbehaving({BAD: lambda talk, request: talk.send(busy)}) as server:
        row = only(rows(server.url, timeout_first_token_s=0.5), BAD)
    assert row["error"] == "timeout_first_token"
    assert server.jobs.count(BAD) == 1  # nothing was sent again after the limit
    assert row["end_ns"] - row["start_ns"] >= 500 * NS_PER_MS


def test_reply_that_goes_on_after_its_first_token_has_met_the_limit():
    def slow(talk, request):
        talk.send(stream_head() + TOKEN)
        talk.server.over.wait(1.5)
        rest(talk)

    with Misbehaving({BAD: slow}) as server:
        row = only(rows(server.url, timeout_first_token_s=1), BAD)
    assert_good(row)
    assert row["end_ns"] - row["start_ns"] >= NS_PER_S


@pytest.mark.parametrize("behind_tokens", [b"", PING])
def test_silence_within_a_reply(behind_tokens):
    def stalls(talk, request):
        talk.send(stream_head() + TOKEN + TOKEN + behind_tokens)
        talk.hold()

    with Misbehaving({BAD: stalls}) as server:
        row = only(rows(server.url, timeout_between_chunks_s=0.5), BAD)
    assert (row["error"], row["chunks"]) == ("timeout_between_chunks", 2)
    assert row["error_text"] == "nothing came for 0.5 s within the reply"
    assert row["end_ns"] - row["last_chunk_ns"] >= 500 * NS_PER_MS


def test_waiting_for_the_first_token_is_not_silence_within_a_reply():
    def thinks(talk, request):
        talk.send(stream_head() + ROLE)
        talk.server.over.wait(1.5)
        talk.send(TOKEN)
        rest(talk)

    with Misbehaving({BAD: thinks}) as server:
        row = only(rows(server.url, timeout_between_chunks_s=0.8), BAD)
    assert_good(row)
    assert row["chunk_ns"][0] - row["start_ns"] >= NS_PER_S


def test_the_whole_limit_still_ends_what_meets_the_others():
    def drips(talk, request):
        talk.send(stream_head())
        while not talk.server.over.is_set():
            talk.send(TOKEN, pause_s=0.1)

    limits = {"timeout_first_token_s": 5, "timeout_between_chunks_s": 5, "timeout_s": 1}
    with Misbehaving({BAD: drips}) as server:
        row = only(rows(server.url, **limits), BAD)
    assert row["error"] == "timeout" and row["chunks"] > 1


def test_a_reply_that_came_while_the_client_slept_is_no_silence(monkeypatch):
    """All bytes that have arrived are read before a limit is looked at, on every place."""
    readable = EpollTransport._readable
    jobs, asleep = set(), threading.Event()

    def sleepy(self, connection):
        readable(self, connection)
        if connection.exchange:
            jobs.add(connection.exchange.job)
        if jobs == {0, 1} and not asleep.is_set():
            asleep.set()
            time.sleep(1.0)  # meanwhile the rest of both replies arrives

    def steady(talk, request):
        talk.send(stream_head() + TOKEN)
        assert asleep.wait(10)
        rest(talk)

    monkeypatch.setattr(EpollTransport, "_readable", sleepy)
    with Misbehaving({0: steady, 1: steady}) as server:
        records = rows(server.url, timeout_between_chunks_s=0.5)
    assert asleep.is_set()
    for row in records:
        assert_good(row)


@both
def test_tls_handshake_that_hangs_is_a_connection_that_takes_too_long(
    tmp_path, monkeypatch, transport
):
    context, cert = certificate(tmp_path, "IP:127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))

    class FirstOnly:
        """A handshake on the first connection, and silence on each later one."""

        handshakes = 0

        def wrap_socket(self, sock, server_side):
            self.handshakes += 1
            if self.handshakes > 1:
                server.over.wait(20)
            return context.wrap_socket(sock, server_side=server_side)

    def closes(talk, request):
        talk.send(chunked(*events(), connection="close"))
        talk.close()

    with Misbehaving({0: closes}, tls=FirstOnly()) as server:
        run = {"inflight": 1, "iters": 2, "timeout_connect_s": 0.5, "transport": transport}
        records = rows(server.url, **run)
    assert_good(records[0])
    assert (records[1]["error"], records[1]["attempts"]) == ("timeout_connect", 1)
