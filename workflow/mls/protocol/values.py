"""Single values of a server's replies: each is of the type that it should have, or None."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

_LARGEST = 2**31 - 1  # Tables keep counts as int32
_DIGITS = 12
_COUNT = re.compile(r"([0-9]+)(?:\.0+)?")
_TEXTS = ("text", "thinking", "reasoning", "content")
_LONGEST_MS = 1e12


def count(value: Any) -> int | None:
    """A server's count: an integer, or the same as a text or with a fraction of 0; else None."""
    if isinstance(value, str) and (match := _COUNT.fullmatch(value)):
        value = int(match[1][:_DIGITS])
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
    return value if fits else None


def positive(value: Any) -> int | None:
    """A count above 0; None for 0 too, a server's value for tokens that it didn't count."""
    return count(value) or None


def number(value: Any) -> float | None:
    """A number of milliseconds; None for any other value."""
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if fits and 0 <= value < _LONGEST_MS else None


def words(value: Any) -> str | None:
    """A server's text; None for any other value."""
    return value if isinstance(value, str) else None


def text_of(value: Any) -> str:
    """The text of a message's content, a text or a list of parts; "" for any other value."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(text_of, value))
    if isinstance(value, dict):
        return "".join(text_of(value[key]) for key in _TEXTS if key in value)
    return ""


def storable(figures: dict[str, Any]) -> dict[str, Any]:
    """The object; {} when it can't be written as JSON (a lone surrogate, or nested too deep)."""
    try:
        orjson.dumps(figures)
    except orjson.JSONEncodeError:
        return {}
    return figures


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; [] for any other value."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def plain(text: str) -> str:
    """A server's words on one line of a terminal: no control characters, single spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def loads(data: bytes) -> Any:
    """The value of a JSON text, which may hold lone surrogates; None when it isn't JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"\\u" not in data:
            return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def error_text(reply: dict[str, Any]) -> str | None:
    """A reply's error message, in OpenAI's form or another; None where the reply has none."""
    error = reply.get("error") or reply.get("detail")
    if not error:
        return words(reply.get("message")) or None
    message = error.get("message") if isinstance(error, dict) else error
    if isinstance(message, str) and message:
        return message
    try:
        return orjson.dumps(error).decode()
    except orjson.JSONEncodeError:  # Nested too deep
        return "an error without a message"
