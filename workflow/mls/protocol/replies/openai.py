"""OpenAI's chat and text completions, whole or by chunks."""

from __future__ import annotations

from typing import Any

from mls.protocol.replies.reply import Reply
from mls.protocol.token_ids import tokens_of
from mls.protocol.tool_calls import take_calls
from mls.protocol.values import dicts, plain, text_of

_THOUGHTS = ("thinking", "reasoning")
_OF_THOUGHTS = frozenset({"reasoning", "reasoning_content", "content", "role"})
_BROKEN_OFF = ("error", "abort")
"""Finish reasons of engines and gateways for a reply that failed."""


def take_choice(reply: Reply, choice: dict[str, Any]) -> list[str]:
    """Take in a chunk's choice. Returns its texts."""
    texts = _texts(reply, choice)
    if "logprobs" in choice or "token_ids" in choice:
        reply.tokens += tokens_of(choice)
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason:
        reply.finish_reason, reply.complete = plain(reply.hide(reason)), True
        if reason in _BROKEN_OFF:
            reply.fail("server_error", f"the server ended the reply with finish_reason {reason}")
    return texts


def _texts(reply: Reply, choice: dict[str, Any]) -> list[str]:
    """The texts of a choice: reasoning, answer, names and arguments of tool calls, a refusal."""
    holder = choice.get("delta") or choice.get("message")
    if not isinstance(holder, dict):
        text = choice["text"] if isinstance(choice.get("text"), str) else ""
        reply.answer.append(text)
        return [text]
    content = holder.get("content")
    if len(holder) == 1 and isinstance(content, str):  # Most chunks
        reply.answer.append(content)
        return [content]
    # A server that has both names sends the same text under each
    reasoning = text_of(holder.get("reasoning_content")) or text_of(holder.get("reasoning"))
    if reasoning and not content and holder.keys() <= _OF_THOUGHTS:
        reply.mark(reasoning)
        return [reasoning]
    if isinstance(content, list):
        thoughts = [part for part in dicts(content) if part.get("type") in _THOUGHTS]
        reasoning += text_of(thoughts)
        content = [part for part in content if part not in thoughts]
    if reasoning:
        reply.mark(reasoning)
    answer = text_of(content)
    reply.answer.append(answer)
    calls = take_calls(reply.calls, holder.get("tool_calls"))
    if any(calls):
        reply.call_chunks.add(len(reply.text))
    return [reasoning, answer, *calls, text_of(holder.get("refusal"))]
