"""The counts and times that a server says of a reply: OpenAI's `usage`, llama.cpp's `timings`."""

from __future__ import annotations

from typing import Any

from mls.protocol.replies.reply import Reply
from mls.protocol.values import count, number, positive

_SIDES = ("prompt", "completion")


def take_usage(reply: Reply, chunk: dict[str, Any]) -> None:
    """Take the counts of a chunk that has them: an empty `usage`, or one of zeros, has none."""
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        prompt, completion = (positive(usage.get(f"{side}_tokens")) for side in _SIDES)
        if prompt is not None or completion is not None:
            reply.usage = usage
            details = usage.get("prompt_tokens_details")
            cached = count(details.get("cached_tokens")) if isinstance(details, dict) else None
            reply.cached_tokens = reply.cached_tokens if cached is None else cached
        reply.prompt_tokens = prompt or reply.prompt_tokens
        reply.completion_tokens = completion or reply.completion_tokens
    timings = chunk.get("timings")
    if isinstance(timings, dict):
        reply.timings = timings
        reply.server_prompt_ms = number(timings.get("prompt_ms"))
        reply.server_predicted_ms = number(timings.get("predicted_ms"))
        _take_counts(reply, timings)


def _take_counts(reply: Reply, timings: dict[str, Any]) -> None:
    """Take llama.cpp's counts where `usage` has none. `prompt_n` counts no tokens of the cache."""
    cached, fresh = count(timings.get("cache_n")), count(timings.get("prompt_n"))
    if reply.cached_tokens is None:
        reply.cached_tokens = cached
    if not reply.usage:
        if fresh is not None:
            reply.prompt_tokens = (fresh + (cached or 0)) or reply.prompt_tokens
        reply.completion_tokens = positive(timings.get("predicted_n")) or reply.completion_tokens


def so_far(chunk: dict[str, Any]) -> int | None:
    """Completion tokens so far, by the chunk's own usage (vLLM) or timings (llama.cpp)."""
    for name, key in (("usage", "completion_tokens"), ("timings", "predicted_n")):
        figures = chunk.get(name)
        if isinstance(figures, dict) and (tokens := positive(figures.get(key))):
            return tokens
    return None
