"""Whether a reply has the form that its request asks for: JSON, well-formed tool calls."""

from __future__ import annotations

from typing import Literal, NamedTuple

import orjson

from mls.core.record import FINISHED_BY_LENGTH
from mls.protocol.asked import Asked
from mls.protocol.completion import Reply
from mls.protocol.tool_calls import ToolCall

Json = Literal["whole", "cut", "broken"]
"""`cut`: no JSON, as its token limit ended the reply before it could be."""


class Form(NamedTuple):
    """The form of a reply; None for what its request doesn't ask for."""

    json: Json | None = None
    calls: int | None = None
    bad_calls: int | None = None
    """Calls of no tool that was asked for, or whose arguments are no JSON object; a call that
    lacks is one, too."""


def form_of(reply: Reply, asked: Asked) -> Form:
    """The form of a reply that has no error."""
    by_length = reply.finish_reason == FINISHED_BY_LENGTH
    as_json: Json | None = None
    if asked.json and not reply.calls:
        whole = _is_json("".join(reply.answer))
        as_json = "whole" if whole else "cut" if by_length else "broken"
    if asked.tools is None:
        return Form(as_json)
    # The limit may have cut the last call, or come before the first
    calls = reply.calls[:-1] if by_length else reply.calls
    bad = sum(not _is_sound(call, asked.tools) for call in calls)
    lacks = asked.must_call and not reply.calls and not by_length
    return Form(as_json, len(reply.calls), bad + lacks)


def _is_sound(call: ToolCall, tools: frozenset[str]) -> bool:
    return call.name in tools and call.arguments.lstrip()[:1] == "{" and _is_json(call.arguments)


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
