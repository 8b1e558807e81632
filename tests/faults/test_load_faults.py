"""Faults of servers: an error of the right kind or a correct parse, and no other record touched."""

import gzip
import json

import pytest
from tests.faults.driving import assert_good, both, only, rows
from tests.faults.failures import FAILURES
from tests.servers.behaviours import (
    BODY,
    INTERIM,
    UNFRAMED_HEAD,
    drips_its_head,
    once,
    says_nothing,
    sends,
    stalls,
    stalls_with_too_long_a_content_length,
)
from tests.servers.misbehaving import (
    TOKENS,
    Misbehaving,
    chunk,
    chunked,
    events,
    reply,
    stream_head,
)

from mls.load.transport import epoll
from mls.load.transport.threaded import threads

pytestmark = pytest.mark.timeout(60)
BAD = 2  # the job that the server mistreats


@both
@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_classified(name, transport):
    behave, error, attempts, chunks = FAILURES[name]
    with Misbehaving({BAD: behave}) as server:
        row = only(rows(server.url, transport=transport), BAD)
    assert (row["error"], row["attempts"], row["chunks"]) == (error, attempts, chunks)
    assert row["end_ns"] >= row["start_ns"]
    assert server.jobs.count(BAD) == attempts + row["reconnects"]
    assert "/elsewhere" not in str(server.requests)


@both
@pytest.mark.parametrize(
    "behave, chunks",
    [(says_nothing, 0), (stalls, 2), (stalls_with_too_long_a_content_length, 0)],
)
def test_silence_ends_at_the_limit(behave, chunks, transport):
    with Misbehaving({BAD: behave}) as server:
        row = only(rows(server.url, transport=transport, timeout_s=1), BAD)
    assert (row["error"], row["chunks"]) == ("timeout", chunks)
    assert row["error_text"] == "no complete reply within 1 s"
    assert row["end_ns"] - row["start_ns"] >= 1_000_000_000


@both
def test_a_stream_that_never_ends_ends_at_the_limit(transport):
    def drips(talk, request):
        talk.send(stream_head())
        while not talk.server.over.is_set():
            talk.send(chunk(events()[0]), pause_s=0.1)

    with Misbehaving({BAD: drips}) as server:
        row = only(rows(server.url, transport=transport, timeout_s=1), BAD)
    assert row["error"] == "timeout" and row["chunks"] > 1


@both
def test_a_head_that_drips_in_ends_at_the_limit(transport):
    with Misbehaving({BAD: drips_its_head}) as server:
        row = only(rows(server.url, transport=transport, timeout_s=1), BAD)
    assert row["error"] == "timeout"


@both
@pytest.mark.parametrize(
    "data",
    [
        reply(b"", "503 Service Unavailable"),
        reply(b"", "429 Too Many Requests", retry_after="1"),
        reply(b"", "429 Too Many Requests", retry_after="Fri, 01 Jan 2010 00:00:00 GMT"),
        reply(b"", "503 Service Unavailable", connection="close"),
    ],
)
def test_come_again_is_tried_again(data, transport):
    with Misbehaving({BAD: once(sends(data))}) as server:
        row = only(rows(server.url, transport=transport), BAD)
    assert_good(row)
    assert row["attempts"] == 2
    if b"-after: 1\r" in data:
        assert row["chunk_ns"][0] - row["start_ns"] >= 1_000_000_000  # from the first attempt


@both
def test_503_whose_end_is_the_connections_is_tried_again(transport):
    """haproxy's form: neither a length nor chunks."""
    data = b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\n<html>Sorry</html>"
    with Misbehaving({BAD: once(sends(data, close=True))}) as server:
        row = only(rows(server.url, transport=transport), BAD)
    assert_good(row)
    assert row["attempts"] == 2


def test_connection_that_closes_while_a_request_waits_for_its_next_attempt():
    """The request is sent once more after its pause, and not at once as well."""
    with Misbehaving({BAD: once(sends(reply(b"", "503 Oh"), close=True))}) as server:
        row = only(rows(server.url), BAD)
    assert_good(row)
    assert (row["attempts"], row["reconnects"]) == (2, 0)
    assert server.jobs.count(BAD) == 2
    assert row["chunk_ns"][0] - row["start_ns"] >= 100_000_000  # the pause was kept


@both
@pytest.mark.timeout(30)  # less than the pause: the run ends before it, too
def test_a_pause_longer_than_the_limit_ends_at_the_limit(transport):
    busy = reply(b"", "429 Too Many Requests", retry_after="50")
    with Misbehaving({BAD: sends(busy), 5: sends(busy)}) as server:
        records = rows(server.url, transport=transport, timeout_s=1)
    assert [row["error"] for row in records] == [None, None, "timeout", None, None, "timeout"]


@both
@pytest.mark.parametrize("after", ["9" * 5000, "-1", "soon", "", "1e9"])
def test_absurd_retry_after(after, transport):
    busy = reply(b"", "429 Too Many Requests", retry_after=after)
    timeout = {"timeout_s": 1} if after.startswith("9") else {}
    with Misbehaving({BAD: once(sends(busy))}) as server:
        row = only(rows(server.url, transport=transport, **timeout), BAD)
    assert row["error"] == ("timeout" if timeout else None)


@both
@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_any_split_of_the_bytes(size, transport):
    data = chunked(*events())
    with Misbehaving(default=lambda talk, request: talk.send(data, size)) as server:
        for row in rows(server.url, transport=transport):
            assert_good(row)


@both
def test_http_chunks_that_cut_through_events(transport):
    parts = [BODY[at : at + 11] for at in range(0, len(BODY), 11)]
    with Misbehaving(default=sends(chunked(*parts))) as server:
        for row in rows(server.url, transport=transport):
            assert_good(row)


@both
@pytest.mark.parametrize("parts", [2, 1], ids=["of HTTP's", "of the connection's"])
def test_a_character_cut_in_half(parts, transport):
    """The rest of the character comes later: in an HTTP chunk of its own, or in the same one."""

    def behave(talk, request):
        before, after = '{"choices": [{"delta": {"content": "é"}}]}'.encode().split(b"\xa9")
        event = [b"data: " + before, b"\xa9" + after + b"\n\n"]
        if parts == 2:
            first, second = map(chunk, event)
        else:
            whole = chunk(b"".join(event))
            at = whole.index(b"\xa9")
            first, second = whole[:at], whole[at:]
        talk.send(stream_head() + first)
        talk.server.over.wait(0.05)
        talk.send(second + b"".join(map(chunk, events()[-3:])) + b"0\r\n\r\n")

    with Misbehaving({BAD: behave}) as server:
        records = rows(server.url, transport=transport, keep_output=True)
    row = only(records, BAD)
    assert (row["error"], row["output"], row["chunks"]) == (None, "é", 1)


@both
def test_several_tokens_in_a_chunk_are_one_arrival(transport):
    several = b'data: {"choices": [{"delta": {"content": "Once upon a time"}}]}\n\n'
    with Misbehaving({BAD: sends(chunked(several, *events()[-3:]))}) as server:
        row = only(rows(server.url, transport=transport), BAD)
    assert (row["error"], row["chunks"], row["completion_tokens"]) == (None, 1, len(TOKENS))


def test_several_chunks_in_one_send_are_marked_merged():
    with Misbehaving({BAD: sends(chunked(*events()))}) as server:
        row = only(rows(server.url), BAD)
    assert_good(row)
    assert row["chunk_merged"] == [True] * len(
        TOKENS
    )  # the finish reason came after the last token
    assert len({*row["chunk_ns"]}) == 1


@both
@pytest.mark.parametrize(
    "data, close",
    [
        (UNFRAMED_HEAD + BODY, True),
        (reply(BODY, content_type="text/event-stream"), False),
        (reply(BODY, content_type="Text/Event-Stream; charset=utf-8"), False),
        (chunked(*events(), connection="close"), True),
        (INTERIM[0] + chunked(*events()), False),
        (INTERIM[1] + chunked(*events()), False),
        (b"".join(INTERIM) + chunked(*events()), False),
        (chunked(BODY.replace(b"\n", b"\r\n")), False),
        (chunked(b": ping\n\n", *events()[:2], b"event: x\n: y\n", *events()[2:]), False),
    ],
    ids=["close", "length", "capitals", "chunked-close", "100", "103", "several", "crlf", "pings"],
)
def test_all_honest_forms_of_a_reply(data, close, transport):
    with Misbehaving(default=sends(data, close)) as server:
        for row in rows(server.url, transport=transport):
            assert_good(row)


@both
def test_replies_that_are_not_streamed(transport):
    whole = {
        "choices": [{"message": {"content": "".join(TOKENS)}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 4},
    }
    with Misbehaving(default=sends(reply(json.dumps(whole).encode()))) as server:
        records = rows(server.url, transport=transport, stream=False)
    for row in records:
        assert (row["error"], row["completion_tokens"], row["chunks"]) == (None, 4, 1)


@both
def test_no_usage_is_null_and_no_error(transport):
    with Misbehaving({BAD: sends(chunked(*events(usage=False)))}) as server:
        row = only(rows(server.url, transport=transport), BAD)
    assert (row["error"], row["completion_tokens"], row["chunks"]) == (None, None, len(TOKENS))


def test_more_bytes_than_the_content_length_said():
    at = BODY.index(b"data: [DONE]")
    data = reply(BODY, content_type="text/event-stream", content_length=str(at))
    with Misbehaving({BAD: sends(data)}) as server:
        row = only(rows(server.url), BAD)
    assert_good(row)


@pytest.mark.parametrize("second", [chunked(*events()), reply(b"no", "500 Oh"), b"garbage"])
def test_a_second_reply_that_nobody_asked_for_is_nobodys(second):
    with Misbehaving({BAD: sends(chunked(*events()) + second)}) as server:
        row = only(rows(server.url), BAD)
    assert_good(row)


@pytest.mark.parametrize("close", [False, True])
def test_switching_protocols_is_not_a_reply(close):
    data = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with Misbehaving({BAD: sends(data, close)}) as server:
        row = only(rows(server.url), BAD)
    assert row["error"] == "bad_http"


@pytest.mark.parametrize("transport, error", [("epoll", "bad_encoding"), ("requests", None)])
def test_content_encoding_that_was_not_asked_for(transport, error):
    data = reply(gzip.compress(BODY), content_type="text/event-stream", content_encoding="gzip")
    with Misbehaving({BAD: sends(data)}) as server:
        row = only(rows(server.url, transport=transport), BAD)
    assert row["error"] == error and row["status"] == 200


@both
def test_bad_gzip(transport):
    body = b"this is not what gzip makes"
    data = reply(body, content_type="text/event-stream", content_encoding="gzip")
    with Misbehaving({BAD: sends(data)}) as server:
        row = only(rows(server.url, transport=transport), BAD)
    assert (row["error"], row["status"]) == ("bad_encoding", 200)


def test_an_earlier_attempts_fault_is_forgotten():
    busy = reply(gzip.compress(b"busy"), "503 Oh", content_encoding="gzip")
    with Misbehaving({BAD: once(sends(busy))}) as server:
        row = only(rows(server.url), BAD)
    assert_good(row)


@both
def test_a_line_of_40_mb(transport):
    long = b'data: {"choices": [{"delta": {"content": "' + b"x" * 40_000_000 + b'"}}]}\n\n'
    with Misbehaving({BAD: sends(chunked(long, *events()[-3:]))}) as server:
        row = only(rows(server.url, transport=transport, timeout_s=50), BAD)
    assert (row["error"], row["chunks"], row["completion_tokens"]) == (None, 1, 4)


@both
def test_a_reply_without_an_end_is_too_long(transport, monkeypatch):
    """Such a reply would fill the memory long before `timeout_s`."""
    monkeypatch.setattr(epoll, "MOST_BYTES", 10**6)
    monkeypatch.setattr(threads, "MOST_BYTES", 10**6)

    def pours(talk, request):
        talk.send(stream_head())
        while True:
            talk.send(chunk(b"x" * 65536))

    with Misbehaving({BAD: pours}) as server:
        row = only(rows(server.url, transport=transport, timeout_s=50), BAD)
    assert (row["error"], row["chunks"]) == ("too_long", 0)
