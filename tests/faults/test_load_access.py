"""What a run's requests are sent to and with, on both transports: URLs, headers, redirects."""

import json

import pytest
from tests.faults.driving import assert_good, both, harvest, rows, spec
from tests.servers.misbehaving import Misbehaving, Talk, chunked, events, good, reply

from mls.config.sections.run import Run
from mls.protocol.request import Target

pytestmark = pytest.mark.timeout(60)
CHAT = "/v1/chat/completions"
KEY = "s3cret/key"


def of_target(target, **run):
    options = {"inflight": 2, "ranks": 1, "iters": 6, "warmup": 0, "timeout_s": 10} | run
    return harvest(spec([target], Run(**options))).table.to_pylist()


@both
@pytest.mark.parametrize("suffix", ["/v1", "/v1/", "/api/v1", CHAT])
def test_a_url_written_in_any_way(transport, suffix):
    """What a request line says is what `endpoint_url` says."""
    lines = []

    def notes(talk):
        head = talk.head

        def noted():
            found = head()
            if found and found[0].startswith("POST"):
                lines.append(found[0])
            return found

        talk.head = noted

    with Misbehaving(hello=notes) as server:
        for row in rows(server.url + suffix, transport=transport):
            assert_good(row)
    prefix = "/api" if "api" in suffix else ""
    assert set(lines) == {f"POST {prefix}{CHAT} HTTP/1.1"}


@both
def test_secret_headers_are_sent_and_not_kept(transport):
    said = b'data: {"choices": [{"delta": {"content": "s3cret\\/key and s3cret/key"}}]}\n\n'

    def repeats(talk, asked):
        talk.send(chunked(said, *events()[-3:]))

    def refuses(talk, asked):
        talk.send(reply(f"not {KEY}".encode(), "400 Bad Request"))

    with Misbehaving({2: refuses}, default=repeats) as server:
        target = Target(server.url, headers={"api-key": KEY})
        found = of_target(target, transport=transport, keep_output=True)
    assert {asked.headers["api-key"] for asked in server.asked} == {KEY}
    assert [row["output"] for row in found if row["job"] != 2] == ["*** and ***"] * 5
    assert [row["error_text"] for row in found if row["job"] == 2] == ["not ***"]


@both
@pytest.mark.parametrize("status", ["307 Temporary Redirect", "301 Moved Permanently"])
def test_a_redirect_is_not_followed_and_says_what_to_set(transport, status):
    def moved(talk, asked):
        talk.send(reply(b"", status, location=f"{CHAT}/"))

    with Misbehaving(default=moved) as server:
        found = rows(server.url, transport=transport)
        assert {row["error"] for row in found} == {f"http_{status[:3]}"}
        assert {row["error_text"] for row in found} == {
            f"redirected to {server.url}{CHAT}/ (Location), which is not followed; "
            f"set run.endpoint to {CHAT}/"
        }


@both
@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_root_that_never_answers_is_no_hindrance(transport, beginning, monkeypatch):
    monkeypatch.setattr("mls.load.transport.threaded.threads._ROOT_S", 0.2)

    class Silent(Talk):
        def head(self):
            found = super().head()
            if found and found[0].startswith("GET"):
                self.send(beginning)
                self.hold()
                return None
            return found

    def becomes_silent(talk):
        talk.__class__ = Silent

    with Misbehaving(hello=becomes_silent, default=good) as server:
        for row in rows(server.url, transport=transport):
            assert_good(row)
        assert all(json.loads(asked.body)["stream"] for asked in server.asked)
