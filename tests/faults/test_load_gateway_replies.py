"""Replies of gateways: very long heads, replies that say nothing, whole replies in one event."""

import json

import pytest
from tests.faults.driving import assert_good, both, gather, rows
from tests.servers.behaviours import sends
from tests.servers.misbehaving import TOKENS, Misbehaving, chunk, chunked, events, stream_head
from tests.unit.synthetic import facts

from mls.analysis.repeat.summary import summarize

USAGE = {"prompt_tokens": 7, "completion_tokens": 4}


def event(content: dict) -> bytes:
    return b"data: %b\n\n" % json.dumps(content).encode()


@both
def test_a_head_of_40_kb_with_letters_beyond_ascii(transport):
    cookies = "".join(f"Set-Cookie: k{i}={'v' * 1000}\r\n" for i in range(40))
    head = stream_head()[:-2] + f"{cookies}X-Note: caf\xe9\r\nx-empty: \r\n\r\n".encode("latin-1")
    body = b"".join(map(chunk, events())) + b"0\r\n\r\n"
    with Misbehaving(default=sends(head + body)) as server:
        for row in rows(server.url, transport=transport):
            assert_good(row)


@both
@pytest.mark.parametrize("role", [True, False])
def test_a_reply_that_says_nothing_has_no_first_token(transport, role):
    delta = {"role": "assistant", "content": ""} if role else {}
    parts = [
        event({"choices": [{"delta": delta, "finish_reason": None}]}),
        event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE}),
        b"data: [DONE]\n\n",
    ]
    with Misbehaving(default=sends(chunked(*parts))) as server:
        for row in rows(server.url, transport=transport):
            assert (row["error"], row["chunks"], row["finish_reason"]) == (None, 0, "stop")
            assert (row["first_chunk_ns"], row["completion_tokens"]) == (None, 4)


@both
def test_a_whole_reply_in_one_event_was_not_streamed(transport):
    choice = {"message": {"content": "".join(TOKENS)}, "finish_reason": "length"}
    body = chunked(event({"choices": [choice], "usage": USAGE}), b"data: [DONE]\n\n")
    with Misbehaving(default=sends(body)) as server:
        table = gather(server.url, transport=transport).table
    for row in table.to_pylist():
        assert (row["error"], row["chunks"], row["completion_tokens"]) == (None, 1, 4)
    summary = summarize(table, facts(2))
    assert summary.ttft_ms.n == 0 and summary.tpot_ms.n == 0
