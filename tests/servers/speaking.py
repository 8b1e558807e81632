"""A server whose replies are text: of its own for each prompt, or with a fault on purpose."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.servers.honest import Handler, HonestServer, Turns

from mls.protocol.prompts import prompt


class Said(NamedTuple):
    """A reply: its text, or the deltas of its chunks, and its finish reason."""

    text: str = ""
    reason: str = "length"
    deltas: list[dict[str, Any]] | None = None


class Asking(NamedTuple):
    """A request as a fault sees it. outstanding: requests in the server, this one included."""

    prompt: str
    tokens: int
    outstanding: int


Speech = Callable[[Asking], Said]


def sound(asking: Asking) -> Said:
    """Words of its own for each prompt, the same each time."""
    return Said(prompt(zlib.crc32(asking.prompt.encode()), 0, asking.tokens))


class Speaking(HonestServer):
    """A context manager around the running server.

    speech: what it says. Surrogate escapes in it are sent as the bytes that they stand for.
    turns: see `HonestServer`.
    """

    def __init__(self, speech: Speech = sound, turns: Turns | None = None) -> None:
        super().__init__(handler=_Speaker, turns=turns)
        self.speech = speech


class _Speaker(Handler):
    server: Speaking
    token_s = 0.0

    def says(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        asking = Asking(
            body["messages"][-1]["content"], body["max_tokens"], self.server.outstanding
        )
        said = self.server.speech(asking)
        if said.deltas is not None:
            return said.deltas, said.reason
        return [
            {"content": piece} for piece in re.findall(r"\s*\S+\s*$|\s*\S+", said.text)
        ], said.reason

    def event(self, data: dict[str, Any]) -> None:
        text = f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode(
            "utf-8", "surrogateescape"
        )
        self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")


class Uncached(Speaking):
    """It says of each reply how much of the prompt came from a cache."""

    cached = 0

    def __init__(self, speech: Speech) -> None:
        super().__init__(speech)
        said = self.RequestHandlerClass.event

        class Handler(self.RequestHandlerClass):  # type: ignore[name-defined, misc]
            def event(self, data: dict[str, Any]) -> None:
                if usage := data.get("usage"):
                    usage["prompt_tokens_details"] = {"cached_tokens": self.server.cached}
                said(self, json.loads(json.dumps(data)))

        self.RequestHandlerClass = Handler
