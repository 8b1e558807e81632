"""llama.cpp's own `/completion`, whole or by chunks."""

from __future__ import annotations

from typing import Any

from mls.protocol.replies.reply import Reply
from mls.protocol.token_ids import tokens_of
from mls.protocol.values import positive


def take_native(reply: Reply, chunk: dict[str, Any]) -> str:
    """Take in a chunk. Returns its text."""
    text: str = chunk["content"]
    reply.answer.append(text)
    reply.tokens += tokens_of(chunk)
    _take_end(reply, chunk)
    return text


def _take_end(reply: Reply, chunk: dict[str, Any]) -> None:
    if chunk.get("stop") is not True:
        return
    reply.complete = True
    reply.finish_reason = "length" if chunk.get("stop_type") == "limit" else "stop"
    reply.prompt_tokens = positive(chunk.get("tokens_evaluated"))
    reply.completion_tokens = positive(chunk.get("tokens_predicted"))
