"""The run can read the replies of each server that the probe passes."""

import pytest
from tests.faults.driving import rows
from tests.servers.misbehaving import Misbehaving, chunk, events, reply

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
