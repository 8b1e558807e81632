"""Reading a server's replies: completions in their three forms, and Prometheus text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

_METRIC = re.compile(r"^([A-Za-z_:][\w:]*)\s+(\S+)(?:\s+-?\d+)?$")

_KEPT = {"usage": dict, "timings": dict, "system_fingerprint": str}
_LARGEST = 2**31 - 1  # tables keep counts as int32


@dataclass(frozen=True)
class Completion:
    """One reply to a completion request."""

    content: str
    streamed: bool
    chunks: int  # content-bearing ones
    finish_reason: str | None
    fields: dict[str, Any]  # of the last chunk that has them: usage, timings, system_fingerprint

    @property
    def usage(self) -> dict[str, Any]:
        """OpenAI's `usage`; empty when there is none."""
        return self.fields.get("usage") or {}

    @property
    def timings(self) -> dict[str, Any]:
        """llama.cpp's `timings`; empty when there are none."""
        return self.fields.get("timings") or {}

    @property
    def prompt_tokens(self) -> int | None:
        """By `usage`, else `timings`, which counts those from the cache apart."""
        read = count(self.timings.get("prompt_n"))
        counted = None if read is None else read + (count(self.timings.get("cache_n")) or 0)
        return _first(count(self.usage.get("prompt_tokens")), counted)

    @property
    def completion_tokens(self) -> int | None:
        return _first(
            count(self.usage.get("completion_tokens")), count(self.timings.get("predicted_n"))
        )

    @property
    def cached_tokens(self) -> int | None:
        """Prompt tokens that came from the server's cache; None when it doesn't say."""
        details = self.usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        return _first(count(cached), count(self.timings.get("cache_n")))


def count(value: Any) -> int | None:
    """A count as a server gives it; None for what can't be one."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
    return value if fits else None


def plain(text: str) -> str:
    """A server's words fit for a terminal and a line: no control characters, single spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one


def parse_metrics(text: str) -> dict[str, float]:
    """Prometheus text format → name → value, of the finite samples that have no labels."""
    found = {}
    for line in text.splitlines():
        match = _METRIC.match(line.strip())
        if match:
            try:
                value = float(match[2])
            except ValueError:
                continue
            if math.isfinite(value):
                found[match[1]] = value
    return found


def parsed(data: bytes) -> Any:
    """JSON; None when it is something else, such as a web page."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def events(lines: Iterable[bytes]) -> Iterator[Any]:
    """The JSON of each `data:` line of a server-sent event stream, up to `[DONE]`."""
    for line in lines:
        name, _, data = line.partition(b":")
        data = data.strip()
        if data == b"[DONE]":
            return
        if name == b"data" and data:
            try:
                yield orjson.loads(data)
            except orjson.JSONDecodeError:
                continue


def joined(stream: Iterator[Any]) -> Completion | str | None:
    """One completion from its chunks; the error's text when the server sent one; None: neither."""
    pieces: list[str] = []
    seen = False
    finish: str | None = None
    fields: dict[str, Any] = {}
    for event in stream:
        if not isinstance(event, dict):
            continue
        if error := error_text(event):
            return error
        content, reason = _content(event)
        seen = seen or "choices" in event or "content" in event
        if content:
            pieces.append(content)
        finish = reason or finish
        fields |= _kept(event)
    if not seen:
        return None
    return Completion("".join(pieces), True, len(pieces), finish, fields)


def whole(found: Any) -> Completion | str | None:
    """The same from a reply in one piece."""
    if not isinstance(found, dict):
        return None
    if error := error_text(found):
        return error
    content, reason = _content(found)
    if content is None:
        return None
    return Completion(content, False, 1 if content else 0, reason, _kept(found))


def _kept(reply: dict[str, Any]) -> dict[str, Any]:
    """Those of the fields to keep that are what they should be."""
    return {key: reply[key] for key, kind in _KEPT.items() if isinstance(reply.get(key), kind)}


def _content(reply: dict[str, Any]) -> tuple[str | None, str | None]:
    """(text, finish reason) of a reply or chunk, in OpenAI's chat and text forms and llama.cpp's own.

    Of an embedding, how long it is.
    """
    if isinstance(reply.get("content"), str):  # /completion
        return reply["content"], words(reply.get("stop_type")) if reply.get("stop") else None
    data = reply.get("data")
    if isinstance(data, list) and data and isinstance(data[0], dict):
        vector = data[0].get("embedding")
        if vector and isinstance(vector, list | str):
            return f"an embedding of length {len(vector)}", None
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None, None
    choice = choices[0]
    reason = words(choice.get("finish_reason"))
    message = choice.get("message") or choice.get("delta")
    if isinstance(message, dict):
        said = words(message.get("content")) or words(message.get("reasoning_content"))
        return said or "", reason
    return words(choice.get("text")), reason


def words(value: Any) -> str | None:
    """A text as a server gives it; None for what is none."""
    return value if isinstance(value, str) else None


def error_text(reply: dict[str, Any]) -> str | None:
    """What the `error` of a reply says, in OpenAI's form or another; None where it has none."""
    error = reply.get("error")
    if not error:
        return None
    said = error.get("message") if isinstance(error, dict) else error
    if isinstance(said, str) and said:
        return said
    try:
        return orjson.dumps(error).decode()
    except orjson.JSONEncodeError:  # nested too deep
        return "an error without a message"
