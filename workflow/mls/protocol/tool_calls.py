"""Tool calls of a reply, put together from the pieces that its chunks bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from mls.protocol.values import dicts, storable, text_of


@dataclass(slots=True)
class ToolCall:
    """A call: the tool's name, and its arguments as JSON."""

    name: str = ""
    arguments: str = ""

    @property
    def whole(self) -> bool:
        """Whether its arguments are a JSON object."""
        try:
            return isinstance(orjson.loads(self.arguments), dict)
        except orjson.JSONDecodeError:
            return False


def take_calls(calls: list[ToolCall], pieces: Any) -> list[str]:
    """Add the `tool_calls` of a chunk, or of a whole message, to the calls. Returns their texts.

    A piece belongs to the call of its `index`. Without one, a piece that names a tool begins a
    call, and any other goes on with the last.
    """
    texts: list[str] = []
    for piece in dicts(pieces):
        function = piece.get("function")
        if not isinstance(function, dict):
            continue
        name, arguments = text_of(function.get("name")), _arguments(function.get("arguments"))
        texts += [name, arguments]
        index = piece.get("index")
        goes_on = index < len(calls) if isinstance(index, int) else not name
        if not (goes_on and calls):
            calls.append(ToolCall())
            index = None
        call = calls[index if isinstance(index, int) and index >= 0 else -1]
        call.name += name
        call.arguments += arguments
    return texts


def _arguments(value: Any) -> str:
    """The arguments' JSON, as a server sends it, or made of the object that it sends instead."""
    return orjson.dumps(storable(value)).decode() if isinstance(value, dict) else text_of(value)
