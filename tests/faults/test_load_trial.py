"""The run can read the replies of each server that the probe passes."""

import contextlib
import json

import pytest
from tests.faults.driving import both, rows
from tests.servers.behaviours import INTERIM
from tests.servers.misbehaving import TOKENS, Misbehaving, chunk, chunked, events, reply

from mls.commands.probe import probe_server
from mls.core.errors import UserError

WHOLE = (
    b'{"choices": [{"message": {"content": "Hi"}, "finish_reason": "length"}], '
    b'"usage": {"prompt_tokens": 7, "completion_tokens": 1}}'
)
STREAM = b"".join(map(chunk, events())) + b"0\r\n\r\n"
HEADS = {
    "both": b"Transfer-Encoding: chunked\r\nContent-Length: 100000\r\n",
    "encoded": b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n",
    "plain": b"Transfer-Encoding: chunked\r\n",
}


def server_with(head):
    """A server whose streamed replies have these header fields; its other replies are good."""

    def answer(talk, request):
        if b'"stream":true' not in request.body:
            talk.send(reply(WHOLE))
            return
        kind = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        talk.send(kind + head + b"\r\n" + STREAM)

    return Misbehaving(default=answer)


@contextlib.contextmanager
def hasty_server(interim, tmp_path=None):
    """A server that sends interim replies before each of its own, at any path."""

    def answer(talk, request):
        data = chunked(*events()) if b'"stream":true' in request.body else reply(WHOLE)
        for each in interim:
            talk.send(each)
        talk.send(data)

    with Misbehaving(default=answer, **({"host": str(tmp_path / "s")} if tmp_path else {})) as one:
        yield one


def probe_output(url, capsys):
    probe_server([url], None, "m", None, None)
    return capsys.readouterr()


@pytest.mark.parametrize("form", ["both", "encoded"])
def test_what_the_run_can_not_read_the_probe_refuses(form, capsys):
    with server_with(HEADS[form]) as server:
        assert {row["error"] for row in rows(server.url)} <= {"bad_http", "bad_encoding"}
        with pytest.raises(UserError) as error:
            probe_output(server.url, capsys)
    text = str(error.value)
    if form == "both":
        assert "not by the epoll transport (bad_http: " in text


def test_what_the_run_can_read_the_probe_passes(capsys):
    with server_with(HEADS["plain"]) as server:
        assert {row["error"] for row in rows(server.url)} == {None}
        assert '"streaming": true' in probe_output(server.url, capsys).out


@both
@pytest.mark.parametrize("interim", [INTERIM[1:2], INTERIM], ids=["103", "several"])
@pytest.mark.parametrize("unix", [False, True])
def test_interim_replies_are_read_by_the_probe_as_by_the_run(
    interim, unix, transport, capsys, tmp_path
):
    with hasty_server(interim, tmp_path if unix else None) as server:
        assert {row["error"] for row in rows(server.url, transport=transport)} == {None}
        answer = json.loads(probe_output(server.url, capsys).out)
    assert answer["streaming"] and answer["endpoints"]["/v1/chat/completions"]
    assert [each["completion_tokens"] for each in answer["replies"]] == [1, len(TOKENS)]


def test_a_server_that_switches_protocols_is_refused(capsys):
    data = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with (
        Misbehaving(default=lambda talk, _: talk.send(data)) as server,
        pytest.raises(UserError, match=r"switches to another protocol \(HTTP 101\)"),
    ):
        probe_output(server.url, capsys)
