"""What requests ask of the form of their replies, and tool calls put together from chunks."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.run import Run
from mls.protocol.asked import Asked, asked_of
from mls.protocol.completion import read_reply
from mls.protocol.tool_calls import ToolCall, take_calls

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]


@pytest.mark.parametrize(
    ("extra", "asked"),
    [
        ({}, Asked()),
        ({"seed": 1, "response_format": {"type": "text"}}, Asked()),
        ({"response_format": {"type": "json_object"}}, Asked(json=True, shaped=True)),
        (
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            Asked(json=True, schema=SCHEMA, shaped=True),
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
            Asked(json=True, schema=SCHEMA, shaped=True),
        ),
        ({"json_schema": json.dumps(SCHEMA)}, Asked(json=True, schema=SCHEMA, shaped=True)),
        ({"guided_json": SCHEMA}, Asked(json=True, schema=SCHEMA, shaped=True)),
        ({"structured_outputs": {"json": SCHEMA}}, Asked(json=True, schema=SCHEMA, shaped=True)),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, Asked(shaped=True)),
        ({"grammar": 'root ::= "yes"'}, Asked(shaped=True)),
        ({"tools": TOOLS}, Asked(tools=frozenset(["weather", "time"]))),
        (
            {"tools": TOOLS, "tool_choice": "required"},
            Asked(shaped=True, tools=frozenset(["weather", "time"]), must_call=True),
        ),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "time"}}},
            Asked(shaped=True, tools=frozenset(["time"]), must_call=True),
        ),
        ({"tools": TOOLS, "tool_choice": "auto"}, Asked(tools=frozenset(["weather", "time"]))),
        ({"tools": [], "tool_choice": "required"}, Asked()),
        ({"json_schema": "{"}, Asked(json=True, shaped=True)),
        ({"tools": "none", "response_format": "json", "structured_outputs": 1}, Asked(shaped=True)),
    ],
)
def test_what_a_config_asks_for(extra, asked):
    assert asked_of(Run(request_extra=extra)) == asked


def pieces(call, index, cuts):
    """A call as chunks bring it: its name, then its arguments, cut at these places."""
    arguments = call.arguments
    edges = [0, *sorted(min(cut, len(arguments)) for cut in cuts), len(arguments)]
    yield {"index": index, "function": {"name": call.name, "arguments": ""}}
    for begin, end in itertools.pairwise(edges):
        yield {"index": index, "function": {"arguments": arguments[begin:end]}}


@given(st.lists(st.tuples(st.text(min_size=1), st.text(), st.lists(st.integers(0, 50)))))
def test_calls_in_any_pieces_are_the_same_calls(parts):
    calls = [ToolCall(name, json.dumps({"text": text})) for name, text, _ in parts]
    taken: list[ToolCall] = []
    for index, (call, (_, _, cuts)) in enumerate(zip(calls, parts, strict=True)):
        for piece in pieces(call, index, cuts):
            take_calls(taken, [piece])
    assert taken == calls


def test_calls_of_servers_that_do_not_number_them():
    calls: list[ToolCall] = []
    one = {"function": {"name": "time", "arguments": {"zone": 1}}}
    assert take_calls(calls, [one, one]) == ["time", '{"zone":1}'] * 2
    take_calls(calls, [{"function": {"arguments": " "}}])
    assert calls == [ToolCall("time", '{"zone":1}'), ToolCall("time", '{"zone":1} ')]


@pytest.mark.parametrize("pieces", [None, 3, [None], [{"function": 1}], [{}]])
def test_what_is_no_call(pieces):
    calls: list[ToolCall] = []
    assert take_calls(calls, pieces) == [] and calls == []


@given(st.recursive(st.none() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(
    st.sampled_from(["index", "function", "name", "arguments", "x"]), s), max_leaves=20))  # fmt: skip
def test_any_pieces_are_read(value):
    take_calls([], value)
    take_calls([ToolCall()], [{"function": value}, {"index": -1, "function": {"name": "a"}}])


def test_answer_and_calls_are_told_apart_in_a_stream():
    deltas = [
        {"role": "assistant", "reasoning_content": "Hm."},
        {"content": "Let me see. "},
        {"tool_calls": [{"index": 0, "function": {"name": "time", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"zo'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": 'ne": 1}'}}]},
        {"content": "Done."},
    ]
    chunks = [{"choices": [{"delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    reply = read_reply(200, True, [(body + b"data: [DONE]\n\n", 0)])
    assert reply.content == 'Hm.Let me see. time{"zone": 1}Done.'
    assert "".join(reply.answer) == "Let me see. Done." and reply.has_reasoning
    assert reply.calls == [ToolCall("time", '{"zone": 1}')]


@pytest.mark.parametrize(
    ("endpoint", "tool", "choice", "must_call"),
    [
        ("/v1/messages", {"name": "weather", "input_schema": {}}, {"type": "any"}, True),
        ("/v1/messages", {"name": "weather"}, {"type": "tool", "name": "weather"}, True),
        ("/v1/messages", {"name": "weather"}, {"type": "auto"}, False),
        ("/v1/responses", {"type": "function", "name": "weather"}, "required", True),
        ("/v1/responses", {"type": "function", "name": "weather"}, "auto", False),
    ],
)
def test_tools_of_responses_and_messages(endpoint, tool, choice, must_call):
    asked = asked_of(Run(endpoint=endpoint, request_extra={"tools": [tool], "tool_choice": choice}))
    assert (asked.tools, asked.must_call) == (frozenset(["weather"]), must_call)


def test_the_format_of_a_response_s_text():
    form = {"type": "json_schema", "name": "city", "schema": {"type": "object"}}
    asked = asked_of(Run(endpoint="/v1/responses", request_extra={"text": {"format": form}}))
    assert (asked.json, asked.schema) == (True, {"type": "object"})
