"""Where a run's requests go, and with which headers, on both transports: URLs, keys, redirects."""

import json

import pytest
from tests.faults.driving import assert_good, both, harvest, rows, spec
from tests.servers.misbehaving import Misbehaving, Talk, chunked, events, good, reply

from mls.config.sections.run import Run
from mls.protocol.request import Target

pytestmark = pytest.mark.timeout(60)
CHAT = "/v1/chat/completions"
KEY = "s3cret/key"


def rows_of(target, **run):
    options = {"inflight": 2, "ranks": 1, "iters": 6, "warmup": 0, "timeout_s": 10} | run
    return harvest(spec([target], Run(**options))).table.to_pylist()


@both
@pytest.mark.parametrize("suffix", ["/v1", "/v1/", "/api/v1", CHAT])
def test_a_url_written_in_any_way(transport, suffix):
    """The request line has the path of `endpoint_url`."""
    lines = []

    def record_lines(talk):
        head = talk.head

        def recording_head():
            request_head = head()
            if request_head and request_head[0].startswith("POST"):
                lines.append(request_head[0])
            return request_head

        talk.head = recording_head

    with Misbehaving(hello=record_lines) as server:
        for row in rows(server.url + suffix, transport=transport):
            assert_good(row)
    prefix = "/api" if "api" in suffix else ""
    assert set(lines) == {f"POST {prefix}{CHAT} HTTP/1.1"}


@both
def test_secret_headers_are_sent_and_not_kept(transport):
    event = b'data: {"choices": [{"delta": {"content": "s3cret\\/key and s3cret/key"}}]}\n\n'

    def repeats(talk, request):
        talk.send(chunked(event, *events()[-3:]))

    def refuses(talk, request):
        talk.send(reply(f"not {KEY}".encode(), "400 Bad Request"))

    with Misbehaving({2: refuses}, default=repeats) as server:
        target = Target(server.url, headers={"api-key": KEY})
        records = rows_of(target, transport=transport, keep_output=True)
    assert {request.headers["api-key"] for request in server.requests} == {KEY}
    assert [row["output"] for row in records if row["job"] != 2] == ["*** and ***"] * 5
    assert [row["error_text"] for row in records if row["job"] == 2] == ["not ***"]


@both
@pytest.mark.parametrize("status", ["307 Temporary Redirect", "301 Moved Permanently"])
def test_a_redirect_is_not_followed_and_says_what_to_set(transport, status):
    def redirects(talk, request):
        talk.send(reply(b"", status, location=f"{CHAT}/"))

    with Misbehaving(default=redirects) as server:
        records = rows(server.url, transport=transport)
        assert {row["error"] for row in records} == {f"http_{status[:3]}"}
        assert {row["error_text"] for row in records} == {
            f"redirected to {server.url}{CHAT}/ (Location), which is not followed; "
            f"set run.endpoint to {CHAT}/"
        }


@both
@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_root_that_never_answers_is_no_hindrance(transport, beginning, monkeypatch):
    monkeypatch.setattr("mls.load.transport.threaded.threads._ROOT_S", 0.2)

    class Silent(Talk):
        def head(self):
            request_head = super().head()
            if request_head and request_head[0].startswith("GET"):
                self.send(beginning)
                self.hold()
                return None
            return request_head

    def becomes_silent(talk):
        talk.__class__ = Silent

    with Misbehaving(hello=becomes_silent, default=good) as server:
        for row in rows(server.url, transport=transport):
            assert_good(row)
        assert all(json.loads(request.body)["stream"] for request in server.requests)
