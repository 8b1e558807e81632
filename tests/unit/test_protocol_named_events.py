"""Responses and Messages: streams of events whose `type` says what they are, and whole replies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.protocol.completion import CUT, read_reply
from mls.protocol.replies.reply import Reply

Object = dict[str, Any]


def read(*events: Object, cut: int = 0, **options: Any) -> Reply:
    """The reply to a stream of these events, one a read. cut: how many of the last don't come."""
    pieces = [
        (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode(), i)
        for i, event in enumerate(events[: len(events) - cut])
    ]
    return read_reply(200, True, pieces, **options)


def read_whole(reply: Object, **options: Any) -> Reply:
    return read_reply(200, False, [(json.dumps(reply).encode(), 0)], **options)


def event(kind: str, **fields: Any) -> Object:
    return {"type": kind} | fields


def output(delta: str, kind: str = "output_text") -> Object:
    return event(f"response.{kind}.delta", item_id="i", delta=delta)


def response(status: str = "completed", **fields: Any) -> Object:
    usage = {"input_tokens": 32, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 31}}
    return {"object": "response", "status": status, "output": [], "usage": usage} | fields


def completed(**fields: Any) -> Object:
    return event("response.completed", response=response(**fields))


CALL = {"type": "function_call", "name": "weather", "call_id": "c", "arguments": ""}
CREATED = event("response.created", response={"object": "response", "status": "in_progress"})
ITEM = event("response.output_item.added", item={"type": "message", "content": []})
TEXT_DONE = event("response.output_text.done", text="Hello")
ITEM_DONE = event("response.output_item.done", item={"type": "message", "content": []})


def test_a_response_has_its_chunks_text_and_counts() -> None:
    reply = read(
        CREATED, ITEM, output("Hel"), output("lo"), TEXT_DONE, ITEM_DONE,
        completed(incomplete_details=None),
    )  # fmt: skip
    assert (reply.error, reply.content, reply.chunk_reads) == (None, "Hello", [2, 3])
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == (32, 4, 31)
    assert (reply.finish_reason, reply.done_read, reply.first_answer) == ("stop", 6, 0)


@pytest.mark.parametrize(("limit", "reason"), [(4, "length"), (5, "stop"), (None, None)])
def test_where_a_response_does_not_say_what_ended_it_its_count_tells(
    limit: int | None, reason: str | None
) -> None:
    """llama.cpp says `completed` of every response, and has no `incomplete_details`."""
    assert read(output("a"), completed(), limit=limit).finish_reason == reason
    assert read(output("a"), completed(), limit=limit).error is None


@pytest.mark.parametrize(
    ("details", "reason"),
    [({"reason": "max_output_tokens"}, "length"), ({"reason": "content_filter"}, "content_filter")],
)
def test_an_incomplete_response_says_why(details: Object, reason: str) -> None:
    end = response("incomplete", incomplete_details=details)
    assert read(output("a"), event("response.incomplete", response=end)).finish_reason == reason


def test_a_response_thinks_and_calls() -> None:
    reply = read(
        output("Let", "reasoning_summary_text"),
        output(" me", "reasoning_text"),
        event("response.output_item.added", item=CALL),
        output('{"city":', "function_call_arguments"),
        output('"Bern"}', "function_call_arguments"),
        completed(),
    )
    assert reply.reasoning == {0: 3, 1: 3} and reply.call_chunks == {2, 3, 4}
    assert [(c.name, c.arguments) for c in reply.calls] == [("weather", '{"city":"Bern"}')]
    assert reply.first_answer == 2


def test_the_tokens_of_a_response_s_reasoning_are_known() -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 7},
    }
    assert read(output("a"), completed(usage=usage)).reasoning_tokens == 7


def test_a_whole_response_is_the_same_reply() -> None:
    parts = [{"type": "output_text", "text": "Hello"}]
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm"}]}
    call = CALL | {"arguments": "{}"}
    items = [thought, {"type": "message", "content": parts}, call]
    for reply in (read_whole(response(output=items), limit=4), read(completed(output=items))):
        assert (reply.error, reply.content) == (None, "HmHelloweather{}")
        assert "".join(reply.answer) == "Hello" and reply.reasoning == {0: 2}
        assert [(c.name, c.arguments) for c in reply.calls] == [("weather", "{}")]
        assert (reply.prompt_tokens, reply.completion_tokens) == (32, 4)


START = event(
    "message_start",
    message={
        "type": "message",
        "content": [],
        "usage": {"input_tokens": 1, "cache_read_input_tokens": 31, "output_tokens": 0},
    },
)


def block(kind: str, **fields: Any) -> Object:
    return event("content_block_start", index=0, content_block={"type": kind} | fields)


def delta(kind: str, **fields: Any) -> Object:
    return event("content_block_delta", index=0, delta={"type": kind} | fields)


def said(text: str) -> Object:
    return delta("text_delta", text=text)


def stopped(reason: str = "max_tokens", **usage: int) -> Object:
    return event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 4} | usage)


BLOCK_END = event("content_block_stop", index=0)
STOP = event("message_stop")


def test_a_message_has_its_chunks_text_and_counts() -> None:
    reply = read(
        START, event("ping"), block("text", text=""), said("Hel"), event("ping"), said("lo"),
        BLOCK_END, stopped(), STOP,
    )  # fmt: skip
    assert (reply.error, reply.content, reply.chunk_reads) == (None, "Hello", [3, 5])
    assert (reply.finish_reason, reply.done_read, reply.heartbeats) == ("length", 8, 2)
    assert (reply.completion_tokens, reply.cached_tokens) == (4, 31)
    assert reply.prompt_tokens == 32, "Anthropic's input_tokens leave out the cached ones"


def test_tokens_written_to_a_cache_are_of_the_prompt() -> None:
    counts = {"input_tokens": 5, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 0}
    reply = read(START, said("a"), stopped(**counts), STOP)
    assert (reply.prompt_tokens, reply.cached_tokens) == (25, 0)


@pytest.mark.parametrize(
    ("stop_reason", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_stop_reasons_are_finish_reasons(stop_reason: str, reason: str) -> None:
    assert read(START, said("a"), stopped(stop_reason), STOP).finish_reason == reason


def test_a_message_thinks_and_calls() -> None:
    reply = read(
        START,
        block("thinking", thinking=""),
        delta("thinking_delta", thinking="Hm"),
        delta("signature_delta", signature="x"),
        block("text", text=""),
        said("So"),
        block("tool_use", id="t", name="weather", input={}),
        delta("input_json_delta", partial_json=""),
        delta("input_json_delta", partial_json='{"city":"Bern"}'),
        block("tool_use", id="u", name="time", input={}),
        stopped("tool_use"),
        STOP,
    )
    assert reply.reasoning == {0: 2} and reply.first_answer == 1 and reply.call_chunks == {2, 3, 4}
    calls = [(c.name, c.arguments) for c in reply.calls]
    assert calls == [("weather", '{"city":"Bern"}'), ("time", "{}")]


def test_a_whole_message_is_the_same_reply() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Bern"}},
    ]
    usage = {"input_tokens": 1, "cache_read_input_tokens": 31, "output_tokens": 4}
    reply = read_whole(
        {"type": "message", "content": content, "stop_reason": "tool_use", "usage": usage}
    )
    assert (reply.error, reply.finish_reason, reply.prompt_tokens) == (None, "tool_calls", 32)
    assert "".join(reply.answer) == "Hello" and reply.reasoning == {0: 2}
    assert [(c.name, c.arguments) for c in reply.calls] == [("weather", '{"city":"Bern"}')]


WHOLE = {
    "responses": (CREATED, ITEM, output("a"), output("b"), completed()),
    "messages": (START, block("text", text=""), said("a"), said("b"), stopped(), STOP),
}


@pytest.mark.parametrize("api", WHOLE)
def test_a_stream_that_breaks_off_is_an_error(api: str) -> None:
    events = WHOLE[api]
    assert read(*events).error is None
    assert read(*events, cut=2 if api == "messages" else 1).error == CUT
    # The connection's own end may come late or never, once the reply has said that it is over
    failure = (CUT, "the server closed the connection")
    assert read(*events, failure=failure).error is None
    assert read(*events, failure=failure, cut=2).error == CUT


@pytest.mark.parametrize(
    "failure",
    [
        event("error", error={"type": "overloaded_error", "message": "too busy"}),
        event("error", code="server_error", message="too busy", param=None),
        event(
            "response.failed",
            response=response("failed", error={"code": "x", "message": "too busy"}),
        ),
    ],
)
def test_errors_within_a_stream_are_the_server_s(failure: Object) -> None:
    reply = read(output("a"), failure)
    assert (reply.error, reply.error_text) == ("server_error", "too busy")


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_however_the_bytes_are_split_it_is_the_same_reply(api: str, data: st.DataObject) -> None:
    body = b"".join(
        f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in WHOLE[api]
    )
    places = sorted(data.draw(st.sets(st.integers(1, len(body) - 2), max_size=8)))
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    reply = read_reply(200, True, [(piece, i) for i, piece in enumerate(pieces)])
    assert (reply.error, reply.text, reply.completion_tokens) == (None, ["a", "b"], 4)
    assert reply.prompt_tokens == 32 and reply.done_read == len(pieces) - 1
    assert reply.chunk_reads == sorted(reply.chunk_reads)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = (
    "delta", "item", "response", "message", "usage", "content_block", "content", "output", "text",
    "status", "error", "incomplete_details", "stop_reason", "input_tokens", "output_tokens",
    "type", "name", "arguments", "input", "thinking", "partial_json", "cache_read_input_tokens",
)  # fmt: skip
ODD = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)


@given(
    st.sampled_from(sorted({one["type"] for events in WHOLE.values() for one in events})),
    st.dictionaries(
        st.sampled_from(NAMES[:12]), JSON | ODD | st.lists(ODD, max_size=2), max_size=4
    ),
)
def test_odd_values_break_nothing(kind: str, fields: Object) -> None:
    reply = read(*WHOLE["responses"][:3], fields | {"type": kind}, *WHOLE["messages"])
    for figure in (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens):
        assert figure is None or 0 <= figure < 2**31
    assert reply.finish_reason is None or isinstance(reply.finish_reason, str)
    assert len(reply.text) == len(reply.chunk_reads)
    assert all(0 < n <= len(reply.text[i]) for i, n in reply.reasoning.items())
