"""The content of a reply: text, usage, timings, and the read that completed each content chunk.

Probe and records of a run share this one reader of completions. It understands OpenAI's chat and
text completions and Responses, Anthropic's Messages and llama.cpp's `/completion`, streamed or not,
OpenAI's embeddings, and scores of documents.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mls.config.sections.replies import ThinkTags
from mls.core.record import FINISHED_BY_LENGTH
from mls.protocol.replies import messages, responses
from mls.protocol.replies.counts import so_far, take_usage
from mls.protocol.replies.native import take_native
from mls.protocol.replies.openai import take_choice
from mls.protocol.replies.reply import Reply
from mls.protocol.replies.scores import take_numbers
from mls.protocol.sse import BYTE_ORDER_MARK, DONE, Event, Piece, events
from mls.protocol.thoughts import first_answer, mark_thoughts, without_thoughts
from mls.protocol.values import dicts, error_text, loads, plain

_READ_OF_ERROR = 64 * 1024
_WITHOUT_CONTENT = frozenset({204, 205})
"""Statuses of success whose replies have no body."""
_LONGEST_FIELD = len(b"event:")
CUT = "closed_early"
"""Kind of error: the reply broke off."""

_BEAT = re.compile(rb"\[(?!DONE)[A-Za-z_-]+\]")
"""A word in brackets as `[PING]`, unlike `[DONE]`; no JSON."""
_NUMBERS = ("data", "results")
_OF_REPLIES = frozenset({"choices", "content", "usage", *_NUMBERS})
"""Keys of replies and their chunks, none of which an error has."""


def read_reply(
    status: int,
    event_stream: bool,
    pieces: Sequence[Piece],
    *,
    last_read: int = 0,
    failure: tuple[str, str] | None = None,
    secret: tuple[str, ...] = (),
    think_tags: ThinkTags = "none",
    limit: int | None = None,
) -> Reply:
    """Read a reply's body. Never raises: a body that can't be parsed is the reply's error.

    pieces: the body. event_stream: whether its content type is an event stream's, which decides
    only where the bytes don't. last_read: index of the read that brought its end. failure: (kind,
    text) of the error that ended it. secret: keys to hide in errors (see `Reply.hide`). think_tags:
    of thoughts that the model writes into its text. limit: the tokens asked for, which tell why a
    reply ended whose server doesn't say.
    """
    reply = Reply(secret=secret)
    if status and not _is_success(status):
        if failure is not None:
            reply.fail(*failure)
        reply.fail(f"http_{status}", words_of_error(b"".join(piece for piece, _ in pieces)))
        return reply
    whole = None if failure else _whole(pieces)
    if whole is not None:
        _take(reply, whole, last_read, followed=False)
    elif event_stream or _like_events(pieces):
        _read_events(reply, pieces)
        was_whole = reply.done_read is not None and failure is not None and failure[0] == CUT
        if failure is not None and reply.error != "server_error" and not was_whole:
            reply.error = None
            reply.fail(*failure)
    elif failure is not None:
        reply.fail(*failure)
    else:
        body = b"".join(piece for piece, _ in pieces)
        reply.fail("bad_reply", f"not JSON: {body[:_READ_OF_ERROR].decode('utf-8', 'replace')}")
    if think_tags == "none":
        reply.first_answer = first_answer(reply.text, reply.reasoning)
    else:
        opened = think_tags == "closing"
        reply.reasoning, reply.first_answer = mark_thoughts(
            reply.text, reply.reasoning, reply.call_chunks, opened
        )
        reply.answer = [without_thoughts("".join(reply.answer), opened)]
    if reply.first_chunk_tokens is None and not reply.reasoning and reply.reasoning_tokens:
        reply.first_chunk_tokens = reply.reasoning_tokens + 1  # They came before it, hidden
    if reply.ends_by_count and reply.completion_tokens and limit:
        by_length = reply.completion_tokens >= limit
        reply.finish_reason = FINISHED_BY_LENGTH if by_length else "stop"
    has_answer = reply.chunk_reads or reply.finish_reason is not None or reply.is_numbers
    if not has_answer:
        reply.fail("bad_reply", "the reply has no content and no finish_reason")
    elif reply.streamed and not reply.complete:
        reply.fail(CUT, "the stream ended without finish_reason and [DONE]")
    return reply


def _is_success(status: int) -> bool:
    return 200 <= status < 300 and status not in _WITHOUT_CONTENT


def words_of_error(body: bytes) -> str:
    """The server's words about an error: the reply's `error`, else the reply's beginning."""
    content = loads(body)
    message = error_text(content) if isinstance(content, dict) else None
    return message or body[:_READ_OF_ERROR].decode("utf-8", "replace")


def _whole(pieces: Sequence[Piece]) -> dict[str, Any] | None:
    """The reply as one JSON object; None when it isn't one."""
    if not _begins(pieces).startswith((b"{", b"[")):
        return None
    content = loads(b"".join(piece for piece, _ in pieces).removeprefix(BYTE_ORDER_MARK))
    return content if isinstance(content, dict) else next(iter(dicts(content)), None)


def _like_events(pieces: Sequence[Piece]) -> bool:
    """Whether a body is a stream of events or of JSON lines by its first bytes."""
    return _begins(pieces).startswith((b"data:", b"event:", b"id:", b"retry:", b":", b"{"))


def _begins(pieces: Sequence[Piece]) -> bytes:
    """The first bytes after byte-order mark and white space."""
    head = b""
    for piece, _ in pieces:
        head = (head + piece).removeprefix(BYTE_ORDER_MARK).lstrip()
        if len(head) >= _LONGEST_FIELD:
            break
    return head[:_LONGEST_FIELD]


def _read_events(reply: Reply, pieces: Sequence[Piece]) -> None:
    reply.streamed = True
    for event in events(pieces):
        data = event.data.strip()
        if data == DONE:
            reply.complete, reply.done_read = True, event.read
        elif event.name == b"error":
            reply.fail("server_error", words_of_error(data))
        else:
            _take_event(reply, event, data)


def _take_event(reply: Reply, event: Event, data: bytes) -> None:
    """Take in one event: a chunk, or a proxy's heartbeat, which keeps the connection open."""
    if not data.startswith(b"{") and (not data.startswith(b"[") or _BEAT.fullmatch(data)):
        reply.heartbeats += 1
        return
    content = loads(data)
    if content is None:
        reply.fail("bad_reply", f"not JSON: {data[:_READ_OF_ERROR].decode('utf-8', 'replace')}")
    for chunk in [content] if isinstance(content, dict) else dicts(content):
        _take(reply, chunk, event.read, event.followed)


def _is_error(chunk: dict[str, Any]) -> bool:
    """Whether an object says that the request failed, in OpenAI's form or in a framework's."""
    if chunk.get("error") is not None or chunk.get("object") == "error":
        return True
    if not _OF_REPLIES.isdisjoint(chunk):
        return False
    has_code = any(key in chunk for key in ("code", "status", "type"))
    return "detail" in chunk or (has_code and isinstance(chunk.get("message"), str))


def _texts_of_kind(reply: Reply, chunk: dict[str, Any], kind: str) -> list[str]:
    """The texts of an object whose `type` says what it is: of Responses, or of Messages."""
    if kind.startswith("response."):
        return responses.take_event(reply, chunk)
    if kind in messages.EVENTS:
        return messages.take_event(reply, chunk)
    if kind == "message":
        return messages.take_message(reply, chunk)
    reply.heartbeats += kind == "ping"
    return []


def _take(reply: Reply, chunk: dict[str, Any], read: int, followed: bool) -> None:
    """Take in one JSON object: a streamed chunk or a whole reply."""
    if _is_error(chunk):
        reply.fail("server_error", error_text(chunk) or "an error without a message")
        return
    kind = chunk.get("type")
    if isinstance(kind, str):
        texts = _texts_of_kind(reply, chunk, kind)
        if reply.streamed and (kind == messages.END or kind in responses.ENDS):
            reply.done_read = read
    else:
        texts = []
    for choice in dicts(chunk.get("choices")):
        texts += take_choice(reply, choice)
    if isinstance(chunk.get("content"), str):  # llama.cpp's /completion
        texts.append(take_native(reply, chunk))
    if chunk.get("object") == "response":
        texts += responses.take_response(reply, chunk)
    for name in _NUMBERS:
        if name in chunk:
            take_numbers(reply, chunk[name])
    fingerprint = chunk.get("system_fingerprint")
    if fingerprint != reply.fingerprint and isinstance(fingerprint, str):
        reply.fingerprint = plain(fingerprint) or reply.fingerprint
    if "usage" in chunk or "timings" in chunk:
        take_usage(reply, chunk)
    text = "".join(texts)
    if text:
        if not reply.chunk_reads:
            reply.first_chunk_tokens = so_far(chunk)
        reply.chunk_reads.append(read)
        reply.chunk_merged.append(followed)
        reply.text.append(text)
