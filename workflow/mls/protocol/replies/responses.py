"""OpenAI's Responses: events `response.…`, or the whole `response`."""

from __future__ import annotations

from typing import Any

from mls.protocol.replies.reply import Reply
from mls.protocol.tool_calls import take_calls
from mls.protocol.values import count, dicts, error_text, plain, positive, text_of, words

ENDS = ("response.completed", "response.incomplete", "response.failed")
"""Events that hold the whole response, the last of a stream."""
_ANSWER = ("response.output_text.delta", "response.refusal.delta")
_THOUGHTS = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")
_ARGUMENTS = "response.function_call_arguments.delta"
_NEW_ITEM = "response.output_item.added"
_LIMITS = {"max_output_tokens": "length"}
"""Reasons of an incomplete response → finish reasons."""


def take_event(reply: Reply, event: dict[str, Any]) -> list[str]:
    """Take in one event. Returns its texts."""
    kind = event["type"]
    if kind in _ANSWER:
        return [reply.say(text_of(event.get("delta")))]
    if kind in _THOUGHTS:
        return [reply.think(text_of(event.get("delta")))]
    if kind == _ARGUMENTS:
        return reply.call(
            take_calls(reply.calls, [{"function": {"arguments": event.get("delta")}}])
        )
    if kind == _NEW_ITEM:
        return _call(reply, event.get("item"))
    response = event.get("response")
    if kind in ENDS and isinstance(response, dict):
        return take_response(reply, response)
    return []


def take_response(reply: Reply, response: dict[str, Any]) -> list[str]:
    """Take in a whole response. Returns its texts, but for those that came by events."""
    _take_end(reply, response)
    _take_usage(reply, response.get("usage"))
    if reply.text:
        return []
    texts: list[str] = []
    for item in dicts(response.get("output")):
        match item.get("type"):
            case "reasoning":
                texts.append(reply.think(text_of(item.get("content") or item.get("summary"))))
            case "message":
                parts = dicts(item.get("content"))
                texts += [reply.say(text_of(p.get("text") or p.get("refusal"))) for p in parts]
            case "function_call":
                texts += _call(reply, item)
    return texts


def _call(reply: Reply, item: Any) -> list[str]:
    if not isinstance(item, dict) or item.get("type") != "function_call":
        return []
    return reply.call(take_calls(reply.calls, [{"function": item}]))


def _take_end(reply: Reply, response: dict[str, Any]) -> None:
    status = words(response.get("status"))
    if status in ("failed", "cancelled"):
        reply.fail("server_error", error_text(response) or f"the response is {status}")
    elif status == "incomplete":
        details = response.get("incomplete_details")
        reason = words(details.get("reason")) if isinstance(details, dict) else None
        reply.finish_reason = _LIMITS.get(reason or "", plain(reply.hide(reason or status)))
    elif "incomplete_details" in response:
        reply.finish_reason = "stop"
    else:  # llama.cpp says `completed`, whatever ended the text
        reply.ends_by_count = True
    reply.complete = True


def _take_usage(reply: Reply, usage: Any) -> None:
    if not isinstance(usage, dict):
        return
    prompt, completion = positive(usage.get("input_tokens")), positive(usage.get("output_tokens"))
    if prompt is None and completion is None:
        return
    details = usage.get("input_tokens_details")
    reply.usage = usage
    reply.prompt_tokens, reply.completion_tokens = prompt, completion
    reply.cached_tokens = count(details.get("cached_tokens")) if isinstance(details, dict) else None
