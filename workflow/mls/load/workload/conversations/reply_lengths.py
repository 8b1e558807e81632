"""How long the replies of a file's conversations are, by the server's own tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from mls.core.errors import UserError
from mls.load.workload.conversations.turns import Dialogue, Fork, Turn

Count = Callable[[str], int | None]
"""Tokens of a text by the server; None where it doesn't say."""


def with_reply_lengths(dialogue: Dialogue, count: Count) -> Dialogue:
    """The conversation, each of whose turns has the length of the file's reply, if it has one.

    Raises `UserError` when the server has no tokenizer to ask.
    """
    return replace(dialogue, turns=_lengths(dialogue.turns, count))


def _lengths(turns: tuple[Turn, ...], count: Count) -> tuple[Turn, ...]:
    return tuple(
        replace(
            turn,
            output_tokens=_length(turn, count),
            forks=[
                Fork(tuple(_lengths(branch, count) for branch in fork.branches), fork.background)
                for fork in turn.forks
            ],
        )
        for turn in turns
    )


def _length(turn: Turn, count: Count) -> int | None:
    replies = [message for message in turn.reply if message["role"] == "assistant"]
    if not replies:
        return None
    tokens = count("\n\n".join(map(_written, replies)))
    if tokens is None:
        raise UserError(
            "workload.output_tokens: dataset needs a server with /tokenize, which this one lacks; "
            "set a number, or another distribution."
        )
    return max(tokens, 1)


def _written(message: dict[str, Any]) -> str:
    """What a model writes of a reply: its text, and its calls of tools as JSON."""
    calls = (orjson.dumps(call.get("function", call)).decode() for call in _calls(message))
    return "\n".join([message["content"] or "", *calls])


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
