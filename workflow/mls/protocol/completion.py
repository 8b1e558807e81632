"""What a reply says: text, usage, timings, and which read completed each content-bearing chunk.

The one reader of completions, for the probe and for the records of a run. Understands OpenAI's chat
and text completions and llama.cpp's `/completion`, streamed or not, and OpenAI's embeddings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from mls.protocol.sse import Event, Piece, events
from mls.protocol.values import count, dicts, error_text, number, parsed, plain

SHOWN = 200
"""Characters that are kept of what was said about an error."""

_READ_OF_ERROR = 64 * 1024
_OK = 200


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
    usage: dict[str, Any] = field(default_factory=dict)
    """OpenAI's, of the last chunk that has it."""
    timings: dict[str, Any] = field(default_factory=dict)
    """llama.cpp's, likewise."""
    fingerprint: str | None = None
    """OpenAI's `system_fingerprint`."""
    streamed: bool = False
    error: str | None = None
    error_text: str | None = None
    done: bool = False
    """The server said that this is the end."""
    embedding: int | None = None
    """Length of an embedding, which has neither text nor a reason to end."""
    secret: tuple[str, ...] = ()
    """Never to be repeated, should the server do so."""

    def fail(self, kind: str, text: str) -> None:
        if self.error is None:
            self.error, self.error_text = kind, plain(self.hide(text)[:SHOWN])

    def hide(self, text: str) -> str:
        for each in self.secret:
            text = text.replace(each, "***")
        return text

    @property
    def output_sha256(self) -> str | None:
        return hashlib.sha256("".join(self.text).encode()).hexdigest() if self.text else None


def read_reply(
    status: int,
    event_stream: bool,
    pieces: Sequence[Piece],
    *,
    clean_end: bool,
    last_read: int = 0,
    failure: tuple[str, str] | None = None,
    secret: tuple[str, ...] = (),
) -> Reply:
    """Read a reply's body. Never raises: what can't be parsed is the reply's error.

    pieces: the body; event_stream: so it is labelled; clean_end: it came to the end that it said
    itself; last_read: index of the read that brought that; failure: kind and text of an error that
    it ended with; secret: keys, which nothing that is kept may hold (see `Reply.hide`).
    """
    reply = Reply(secret=secret, streamed=event_stream)
    if failure is not None:
        reply.fail(*failure)
    if status and status != _OK:
        reply.fail(f"http_{status}", words_of_error(b"".join(piece for piece, _ in pieces)))
    elif event_stream:
        for event in events(pieces):
            if event.data.strip() == b"[DONE]":
                reply.done = True
            else:
                _take(reply, event)
        if reply.error is None and not reply.done and not clean_end:
            reply.fail("closed_early", "the stream ended without finish_reason and [DONE]")
    elif status == _OK and failure is None:
        body = b"".join(piece for piece, _ in pieces)
        _take(reply, Event(body, last_read, followed=False))
    answered = reply.chunk_reads or reply.finish_reason is not None or reply.embedding is not None
    if reply.error is None and not answered:
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
        reply.fail("server_error", words_of_error(data))
        return
    texts = []
    for choice in dicts(chunk.get("choices")):
        texts.append(_choice_text(choice))
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            reply.finish_reason, reply.done = reply.hide(reason), True
    if isinstance(chunk.get("content"), str):  # llama.cpp's /completion
        texts.append(chunk["content"])
        _take_native_end(reply, chunk)
    for item in dicts(chunk.get("data")):
        vector = item.get("embedding")
        if isinstance(vector, list | str) and vector:
            reply.embedding, reply.done = len(vector), True
    text = "".join(texts)
    if text:
        reply.chunk_reads.append(event.read)
        reply.chunk_merged.append(event.followed)
        reply.text.append(text)
    fingerprint = chunk.get("system_fingerprint")
    if isinstance(fingerprint, str):
        reply.fingerprint = fingerprint
    _take_usage(reply, chunk)


def _choice_text(choice: dict[str, Any]) -> str:
    """All content of a choice: text, reasoning, and the arguments of tool calls."""
    holder = choice.get("delta") or choice.get("message")
    if not isinstance(holder, dict):
        return choice["text"] if isinstance(choice.get("text"), str) else ""
    parts = [holder.get("reasoning_content"), holder.get("reasoning"), holder.get("content")]
    for call in dicts(holder.get("tool_calls")):
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
        reply.usage = usage
        reply.prompt_tokens = count(usage.get("prompt_tokens"))
        reply.completion_tokens = count(usage.get("completion_tokens"))
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict):
            reply.cached_tokens = count(details.get("cached_tokens"))
    timings = chunk.get("timings")
    if isinstance(timings, dict):
        reply.timings = timings
        reply.server_prompt_ms = number(timings.get("prompt_ms"))
        reply.server_predicted_ms = number(timings.get("predicted_ms"))
        _take_counts(reply, timings)


def _take_counts(reply: Reply, timings: dict[str, Any]) -> None:
    """llama.cpp's counts, where `usage` has none. Its prompt tokens are without those from the cache."""
    cached, fresh = count(timings.get("cache_n")), count(timings.get("prompt_n"))
    if reply.cached_tokens is None:
        reply.cached_tokens = cached
    if reply.prompt_tokens is None and fresh is not None:
        reply.prompt_tokens = fresh + (cached or 0)
    if reply.completion_tokens is None:
        reply.completion_tokens = count(timings.get("predicted_n"))


def words_of_error(body: bytes) -> str:
    """What a reply says about an error: its `error`, else its beginning."""
    content = parsed(body)
    said = error_text(content) if isinstance(content, dict) else None
    return said or body[:_READ_OF_ERROR].decode("utf-8", "replace")
