"""Whether a reply has the form that its request asks for: JSON, well-formed tool calls."""

from __future__ import annotations

from typing import Literal, NamedTuple

import orjson

from mls.core.record import FINISHED_BY_LENGTH
from mls.load.soundness.schema import fits
from mls.protocol.asked import Asked
from mls.protocol.replies.reply import Reply
from mls.protocol.tool_calls import ToolCall

Json = Literal["fits", "unfit", "whole", "cut", "broken"]
"""`whole`: JSON that no schema judges. `cut`: none, as the token limit came before it could be."""


class Form(NamedTuple):
    """The form of a reply; None for what its request doesn't ask for."""

    json: Json | None = None
    calls: int | None = None
    bad_calls: int | None = None
    """Calls of no tool that was asked for, or whose arguments are no JSON object; a call that
    lacks is one, too."""


class Forms:
    """Tells the forms of replies to requests that ask for one form."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._fits = None if asked.schema is None else fits(asked.schema)

    def of(self, reply: Reply) -> Form:
        """The form of a reply that has no error."""
        asked = self._asked
        by_length = reply.finish_reason == FINISHED_BY_LENGTH
        json = self._json("".join(reply.answer), by_length) if asked.json else None
        if asked.tools is None:
            return Form(json)
        if reply.calls:
            json = None
        # The limit may have cut the last call, or come before the first
        calls = reply.calls[:-1] if by_length else reply.calls
        bad = sum(not _is_sound(call, asked.tools) for call in calls)
        lacks = asked.must_call and not reply.calls and not by_length
        return Form(json, len(reply.calls), bad + lacks)

    def _json(self, answer: str, by_length: bool) -> Json:
        try:
            value = orjson.loads(answer)
        except orjson.JSONDecodeError:
            return "cut" if by_length else "broken"
        fit = self._fits(value) if self._fits else None
        return "whole" if fit is None else "fits" if fit else "unfit"


def _is_sound(call: ToolCall, tools: frozenset[str]) -> bool:
    return call.name in tools and call.whole
