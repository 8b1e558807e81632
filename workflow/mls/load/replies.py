"""What a reply says: text, usage, timings and the arrival of each content-bearing chunk.

Parsed after the load has ended. Understands OpenAI's chat and text completions and llama.cpp's
`/completion`, streamed or not, and OpenAI's embeddings.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from mls.load.transport.exchange import Exchange
from mls.protocol.completion import count, error_text, parsed, plain
from mls.protocol.sse import Event, events

SHOWN = 200
"""Characters that are kept of what was said about an error."""

_READ_OF_ERROR = 64 * 1024


@dataclass(slots=True)
class Reply:
    """The parsed reply.

    `chunk_reads[i]`: index of the read that completed content chunk i; `chunk_merged[i]`: more
    came in that read, so that the chunk's own arrival is unknown.
    """

    chunk_reads: list[int] = field(default_factory=list)
    chunk_merged: list[bool] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    finish_reason: str | None = None
    server_prompt_ms: float | None = None
    server_predicted_ms: float | None = None
    error: str | None = None
    error_text: str | None = None
    done: bool = False  # the server said that this is the end
    embedded: bool = False  # it is an embedding, which has neither text nor a reason to end
    secret: str | None = None  # never to be repeated, should the server do so

    def fail(self, kind: str, text: str) -> None:
        if self.error is None:
            self.error, self.error_text = kind, plain(self.hide(text)[:SHOWN])

    def hide(self, text: str) -> str:
        return text.replace(self.secret, "***") if self.secret else text

    @property
    def output_sha256(self) -> str | None:
        return hashlib.sha256("".join(self.text).encode()).hexdigest() if self.text else None


def parse(exchange: Exchange, secret: str | None = None) -> Reply:
    """Parse an exchange's raw body. Never raises: what can't be parsed is the reply's error.

    secret: the API key, which nothing that is kept may hold (see `Reply.hide`).
    """
    reply = Reply(secret=secret)
    if exchange.error is not None:
        reply.fail(exchange.error, exchange.error_text or "")
    if exchange.status and exchange.status != 200:
        body = b"".join(piece for piece, _ in exchange.pieces)
        reply.fail(f"http_{exchange.status}", _error_text(body))
    elif exchange.event_stream:
        for event in events(exchange.pieces):
            if event.data.strip() == b"[DONE]":
                reply.done = True
            else:
                _take(reply, event)
        if reply.error is None and not reply.done and not exchange.clean_end:
            reply.fail("closed_early", "the stream ended without finish_reason and [DONE]")
    elif exchange.status == 200 and exchange.error is None:
        body = b"".join(piece for piece, _ in exchange.pieces)
        _take(reply, Event(body, len(exchange.read_ns) - 1, followed=False))
    said = reply.chunk_reads or reply.finish_reason is not None or reply.embedded
    if reply.error is None and not said:
        reply.fail("bad_reply", "the reply has no content and no finish_reason")
    return reply


def _take(reply: Reply, event: Event) -> None:
    """Take in one JSON object: a streamed chunk or a whole reply."""
    data = event.data
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError:
        reply.fail("bad_reply", f"not JSON: {data[:_READ_OF_ERROR].decode('utf-8', 'replace')}")
        return
    if not isinstance(chunk, dict):
        reply.fail("bad_reply", "expected a JSON object")
        return
    if chunk.get("error") is not None:
        reply.fail("server_error", _error_text(data))
        return
    texts = []
    for choice in _dicts(chunk.get("choices")):
        texts.append(_choice_text(choice))
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            reply.finish_reason, reply.done = reply.hide(reason), True
    if isinstance(chunk.get("content"), str):  # llama.cpp's /completion
        texts.append(chunk["content"])
        _take_native_end(reply, chunk)
    if any(item.get("embedding") for item in _dicts(chunk.get("data"))):
        reply.embedded = reply.done = True
    text = "".join(texts)
    if text:
        reply.chunk_reads.append(event.read)
        reply.chunk_merged.append(event.followed)
        reply.text.append(text)
    _take_usage(reply, chunk)


def _choice_text(choice: dict[str, Any]) -> str:
    """All content of a choice: text, reasoning, and the arguments of tool calls."""
    holder = choice.get("delta") or choice.get("message")
    if not isinstance(holder, dict):
        return choice["text"] if isinstance(choice.get("text"), str) else ""
    parts = [holder.get("reasoning_content"), holder.get("reasoning"), holder.get("content")]
    for call in _dicts(holder.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            parts += [function.get("name"), function.get("arguments")]
    return "".join(part for part in parts if isinstance(part, str))


def _take_native_end(reply: Reply, chunk: dict[str, Any]) -> None:
    if chunk.get("stop") is not True:
        return
    reply.done = True
    reply.finish_reason = "length" if chunk.get("stop_type") == "limit" else "stop"
    reply.prompt_tokens = count(chunk.get("tokens_evaluated"))
    reply.completion_tokens = count(chunk.get("tokens_predicted"))


def _take_usage(reply: Reply, chunk: dict[str, Any]) -> None:
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        reply.prompt_tokens = count(usage.get("prompt_tokens"))
        reply.completion_tokens = count(usage.get("completion_tokens"))
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict):
            reply.cached_tokens = count(details.get("cached_tokens"))
    timings = chunk.get("timings")
    if isinstance(timings, dict):
        reply.server_prompt_ms = _number(timings.get("prompt_ms"))
        reply.server_predicted_ms = _number(timings.get("predicted_ms"))
        if reply.cached_tokens is None:
            reply.cached_tokens = count(timings.get("cache_n"))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return float(value) if fits else None


def _error_text(body: bytes) -> str:
    found = parsed(body)
    said = error_text(found) if isinstance(found, dict) else None
    return said or body[:_READ_OF_ERROR].decode("utf-8", "replace")
