"""Single values of a server's answers: each is what it should be, or None."""

from __future__ import annotations

from typing import Any

import orjson

_LARGEST = 2**31 - 1  # tables keep counts as int32
_LONGEST_MS = 1e12


def count(value: Any) -> int | None:
    """A count as a server gives it; None for what can't be one."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
    return value if fits else None


def number(value: Any) -> float | None:
    """A number of milliseconds; None for what can't be one."""
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if fits and 0 <= value < _LONGEST_MS else None


def words(value: Any) -> str | None:
    """A text as a server gives it; None for what is none."""
    return value if isinstance(value, str) else None


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none for what is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def plain(text: str) -> str:
    """A server's words fit for a terminal and a line: no control characters, single spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def parsed(data: bytes) -> Any:
    """JSON; None when it is something else, such as a web page."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


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
