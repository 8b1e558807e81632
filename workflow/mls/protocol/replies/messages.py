"""Anthropic's Messages: events of blocks of content, or the whole `message`."""

from __future__ import annotations

from typing import Any

from mls.protocol.replies.reply import Reply
from mls.protocol.tool_calls import take_calls
from mls.protocol.values import count, dicts, plain, positive, text_of, words

END = "message_stop"
"""The last event of a stream."""
EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        END,
    }
)
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Stop reasons → OpenAI's finish reasons."""
_FRESH = ("input_tokens", "cache_creation_input_tokens")
_CACHED = "cache_read_input_tokens"


def take_event(reply: Reply, event: dict[str, Any]) -> list[str]:
    """Take in one event. Returns its texts."""
    match event["type"]:
        case "content_block_delta":
            return _delta_texts(reply, event.get("delta"))
        case "content_block_start":
            return _block_texts(reply, event.get("content_block"))
        case "message_start":
            message = event.get("message")
            _take_usage(reply, message.get("usage") if isinstance(message, dict) else None)
        case "message_delta":
            delta = event.get("delta")
            _take_usage(reply, event.get("usage"))
            _take_end(reply, delta.get("stop_reason") if isinstance(delta, dict) else None)
        case "message_stop":
            reply.complete = True
    return []


def take_message(reply: Reply, message: dict[str, Any]) -> list[str]:
    """Take in a whole message. Returns its texts."""
    texts = [t for block in dicts(message.get("content")) for t in _block_texts(reply, block)]
    _take_usage(reply, message.get("usage"))
    _take_end(reply, message.get("stop_reason"))
    return texts


def _block_texts(reply: Reply, block: Any) -> list[str]:
    """The texts of a block, which is whole or only begins."""
    if not isinstance(block, dict):
        return []
    match block.get("type"):
        case "text":
            return [reply.say(text_of(block.get("text")))]
        case "thinking":
            return [reply.think(text_of(block.get("thinking")))]
        case "tool_use":
            # An empty input stands for arguments that are to come
            call = {"name": block.get("name"), "arguments": block.get("input") or ""}
            return reply.call(take_calls(reply.calls, [{"function": call}]))
    return []


def _delta_texts(reply: Reply, delta: Any) -> list[str]:
    if not isinstance(delta, dict):
        return []
    match delta.get("type"):
        case "text_delta":
            return [reply.say(text_of(delta.get("text")))]
        case "thinking_delta":
            return [reply.think(text_of(delta.get("thinking")))]
        case "input_json_delta":
            function = {"arguments": delta.get("partial_json")}
            return reply.call(take_calls(reply.calls, [{"function": function}]))
    return []


def _take_end(reply: Reply, reason: Any) -> None:
    name = words(reason)
    if not name:
        return
    reply.finish_reason = _REASONS.get(name) or plain(reply.hide(name))
    reply.complete = True
    for call in reply.calls:
        call.arguments = call.arguments or "{}"


def _take_usage(reply: Reply, usage: Any) -> None:
    """Take the counts so far. `input_tokens` leaves out those read from a cache or written to it."""
    if not isinstance(usage, dict):
        return
    whole = reply.usage | usage
    prompt = positive(sum(count(whole.get(name)) or 0 for name in (*_FRESH, _CACHED)))
    completion = positive(whole.get("output_tokens"))
    if prompt is None and completion is None:
        return
    reply.usage = whole
    reply.prompt_tokens, reply.completion_tokens = prompt, completion
    reply.cached_tokens = count(whole.get(_CACHED))
