"""Whole conversations of a user's file: what is said before each reply, and the reply."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.load.workload.datasets import content_of, prompt_cell, role_of, sendable
from mls.load.workload.rows import RowFile
from mls.load.workload.unusable import UnusableRowError, usable_rows
from mls.protocol.content import Messages

_DELAY = "delay_s"
_OF_TOOLS = ("name", "tool_calls", "tool_call_id")
"""Keys of a message that are sent as they are."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a conversation.

    messages: what it adds to all that was said. reply: the file's reply to it, empty where the file
    has none or the server's own is to count. delay_s: the pause before it, by the file.
    """

    messages: Messages
    reply: Messages
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation, of the row with this number in the file."""

    row: int
    turns: tuple[Turn, ...]

    @property
    def text(self) -> str:
        """All that the last request says, but for the server's own replies."""
        *before, last = self.turns
        said = [message for turn in before for message in (*turn.messages, *turn.reply)]
        return text_of([*said, *last.messages])


def text_of(messages: Messages) -> str:
    return "\n\n".join(message["content"] or "" for message in messages)


@dataclass(frozen=True)
class Dialogues:
    """The usable conversations of a file, in its order. notes: sentences for the user."""

    path: Path
    rows: list[Dialogue]
    notes: tuple[str, ...] = ()


def read_dialogues(workload: Workload, run: Run) -> Dialogues:
    """Read `workload.file`. Raises `UserError` that names the row not as expected."""
    file = RowFile("workload.file", Path(workload.file or "").expanduser())
    rows, notes = usable_rows(
        file, lambda number, row: Dialogue(number, _turns(file, number, row, workload))
    )
    if run.api != "chat":
        for dialogue in rows:
            if any(_of_tools(message) for turn in dialogue.turns for message in _all(turn)):
                raise file.row_error(
                    dialogue.row,
                    f"has a tool's message, which goes with /v1/chat/completions, not with "
                    f"{run.endpoint}; change run.endpoint, or leave such rows out.",
                )
    return Dialogues(file.path, rows, notes)


def _all(turn: Turn) -> Messages:
    return [*turn.messages, *turn.reply]


def _of_tools(message: dict[str, Any]) -> bool:
    return message["role"] == "tool" or "tool_calls" in message


def _turns(file: RowFile, number: int, row: dict[str, Any], workload: Workload) -> tuple[Turn, ...]:
    """The turns of a row. Replies before the user's first message are left out.

    Raises `UnusableRowError`, or `UserError` for a delay that is none.
    """
    column, cell = prompt_cell(file, number, row, workload)
    if isinstance(cell, str):
        return (Turn([{"role": "user", "content": sendable(cell, column)}], []),)
    if not isinstance(cell, list):
        raise UnusableRowError(
            f"{column} is {'empty' if cell is None else 'neither a text nor a list of messages'}"
        )
    turns: list[Turn] = []
    news: Messages = []
    delay_s: float | None = None
    for place, said in enumerate(cell, 1):
        role = role_of(said)
        if role == "assistant":
            if _asks(news, first=not turns):
                turns.append(Turn(news, [], delay_s))
                news, delay_s = [], None
            if turns and workload.history == "dataset":
                turns[-1].reply.extend([*news, _message(said, role, place)])
                news = []
            continue
        news.append(_message(said, role, place))
        if (own := _delay_s(file, number, place, said)) is not None:
            delay_s = max(own, delay_s or 0.0)
    if _asks(news, first=not turns):
        turns.append(Turn(news, [], delay_s))
    if not turns:
        raise UnusableRowError(
            f"{column} has no message of a user" if cell else f"{column} is empty"
        )
    return tuple(turns)


def _asks(news: Messages, first: bool) -> bool:
    """Whether there is something to reply to: a user's message, or, later on, a tool's."""
    roles = {message["role"] for message in news}
    return "user" in roles or ("tool" in roles and not first)


def _message(said: dict[str, Any], role: str, place: int) -> dict[str, Any]:
    of_tools = {key: said[key] for key in _OF_TOOLS if said.get(key) is not None}
    content = said.get("content", said.get("value"))
    if role == "tool" and content in (None, ""):
        return {"role": role, "content": ""} | of_tools  # a tool may have nothing to say
    if role == "assistant" and "tool_calls" in of_tools and content in (None, ""):
        return {"role": role, "content": None} | of_tools
    return {"role": role, "content": content_of(said, f"message {place}", None)} | of_tools


def _delay_s(file: RowFile, number: int, place: int, said: dict[str, Any]) -> float | None:
    delay = said.get(_DELAY)
    if delay is None:
        return None
    is_number = isinstance(delay, (int, float)) and not isinstance(delay, bool)
    if not (is_number and 0 <= delay < math.inf):
        raise file.row_error(
            number, f"has {_DELAY} {delay!r} in message {place}; expected seconds of at least 0."
        )
    return float(delay)
