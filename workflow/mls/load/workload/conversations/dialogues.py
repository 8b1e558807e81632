"""Whole conversations of a user's file: what is said before each reply, the reply, and branches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.load.workload.conversations.aiperf import TURNS
from mls.load.workload.conversations.turns import Dialogue, Fork, Turn
from mls.load.workload.datasets import content_of, prompt_cell, role_of, sendable
from mls.load.workload.rows import RowFile
from mls.load.workload.unusable import UnusableRowError, usable_rows
from mls.protocol.content import Messages

_DELAY, _BRANCHES, _BACKGROUND = "delay_s", "branches", "background"
_TOOLS = "tools"
_OF_TOOLS = ("name", "tool_calls", "tool_call_id")
"""Keys of a message that are sent as they are."""
_DEEPEST = 8
"""The most branches that may be within one another."""


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
        file,
        lambda number, row: Dialogue(number, _turns(file, number, row, workload), _tools(row)),
    )
    if run.api != "chat":
        for dialogue in rows:
            what = "tools" if dialogue.tools else "a tool's message"
            if dialogue.tools or any(
                _of_tools(message)
                for step in dialogue.steps
                for message in (*step.turn.messages, *step.turn.reply)
            ):
                raise file.row_error(
                    dialogue.row,
                    f"has {what}, which go{'' if dialogue.tools else 'es'} with /v1/chat/completions, not with "
                    f"{run.endpoint}; change run.endpoint, or leave such rows out.",
                )
    return Dialogues(file.path, rows, notes)


def _of_tools(message: dict[str, Any]) -> bool:
    return message["role"] == "tool" or "tool_calls" in message


def _tools(row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The tools of a row, which some files have as the JSON of a list. Raises `UnusableRowError`."""
    tools = row.get(_TOOLS)
    if isinstance(tools, str):
        try:
            tools = orjson.loads(tools) if tools.strip() else None
        except orjson.JSONDecodeError:
            raise UnusableRowError(f"{_TOOLS} is a text that is no JSON") from None
    if not tools:
        return None
    if not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise UnusableRowError(f"{_TOOLS} is no list of objects")
    _check_json(tools, _TOOLS)
    return tools


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
    if column == TURNS and workload.history == "dataset":
        raise file.row_error(
            number, f"has {TURNS} without replies, as AIPerf's; set workload.history to own."
        )
    line = _Line(file, number, own=workload.history == "own")
    turns = line.read(cell)
    if not turns:
        raise UnusableRowError(
            f"{column} has no message of a user" if cell else f"{column} is empty"
        )
    return turns


class _Line:
    """The main line of a conversation, or one of its branches, while it is read.

    own: whether the server's own replies count. within: a branch's place, such as ` of branch 1 of
    message 3`. news, delay_s: of messages that wait for their turn.
    """

    def __init__(
        self,
        file: RowFile,
        row: int,
        own: bool,
        within: str = "",
        depth: int = 0,
        news: Messages | None = None,
        delay_s: float | None = None,
    ) -> None:
        self._file, self._row, self._own = file, row, own
        self._within, self._depth = within, depth
        self._news: Messages = news or []
        self._delay_s = delay_s
        self._turns: list[Turn] = []

    def read(self, messages: list[Any]) -> tuple[Turn, ...]:
        """The turns of these messages. Raises as `_turns` does."""
        for number, said in enumerate(messages, 1):
            place = f"message {number}{self._within}"
            if isinstance(said, dict) and said.get(_BRANCHES) is not None:
                self._fork(said, place)
                continue
            role = role_of(said)
            if role == "assistant":
                self._reply(said, place)
                continue
            self._news.append(_message(said, role, place))
            if (own := _delay_s(self._file, self._row, place, said)) is not None:
                self._delay_s = max(own, self._delay_s or 0.0)
        if self._asks():
            self._close()
        return tuple(self._turns)

    def _reply(self, said: dict[str, Any], place: str) -> None:
        if self._asks() or (self._own and self._waits()):
            self._close()
        elif self._turns and self._turns[-1].forks and not self._own:
            raise UnusableRowError(f"{place} follows branches, and nothing is said before it")
        if self._turns and not self._own:
            self._turns[-1].reply.extend([*self._news, _message(said, "assistant", place)])
            self._news = []

    def _fork(self, entry: dict[str, Any], place: str) -> None:
        if self._asks():
            if not self._own:
                raise UnusableRowError(f"{place} has branches, and no reply is before them")
            self._close()
        if not self._turns:
            raise UnusableRowError(f"{place} has branches, and no turn is before them")
        if self._depth == _DEEPEST:
            raise UnusableRowError(f"{place} has branches more than {_DEEPEST} deep")
        lists, background = entry[_BRANCHES], entry.get(_BACKGROUND) or False
        if not isinstance(background, bool):
            raise UnusableRowError(f"{place} has a background that is neither true nor false")
        if not (isinstance(lists, list) and lists and all(isinstance(b, list) for b in lists)):
            raise UnusableRowError(f"{place} has branches that are no list of lists of messages")
        branches = []
        for number, messages in enumerate(lists, 1):
            within = f" of branch {number} of {place}"
            branch = _Line(
                *(self._file, self._row, self._own, within, self._depth + 1),
                *([*self._news], self._delay_s),
            )
            branches.append(branch.read(messages))
            if not branches[-1]:
                raise UnusableRowError(f"branch {number} of {place} has no message of a user")
        self._turns[-1].forks.append(Fork(tuple(branches), background))

    def _asks(self) -> bool:
        """Whether there is something to reply to: a user's message, or, later on, a tool's."""
        roles = {message["role"] for message in self._news}
        return "user" in roles or ("tool" in roles and bool(self._turns or self._depth))

    def _waits(self) -> bool:
        """Whether the next turn waits for branches, whose replies it has to reply to."""
        return bool(self._turns) and any(not fork.background for fork in self._turns[-1].forks)

    def _close(self) -> None:
        self._turns.append(Turn(self._news, [], self._delay_s))
        self._news, self._delay_s = [], None


def _message(said: dict[str, Any], role: str, place: str) -> dict[str, Any]:
    of_tools = {key: said[key] for key in _OF_TOOLS if said.get(key) is not None}
    _check_json(of_tools, place)
    content = said.get("content", said.get("value"))
    if role == "tool" and content in (None, ""):
        return {"role": role, "content": ""} | of_tools  # a tool may have nothing to say
    if role == "assistant" and "tool_calls" in of_tools and content in (None, ""):
        return {"role": role, "content": None} | of_tools
    return {"role": role, "content": content_of(said, place, None)} | of_tools


def _check_json(value: Any, place: str) -> None:
    """Raise `UnusableRowError` for what no request can hold, though Python reads it."""
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise UnusableRowError(f"{place} has what can't be sent as JSON ({error})") from None


def _delay_s(file: RowFile, number: int, place: str, said: dict[str, Any]) -> float | None:
    delay = said.get(_DELAY)
    if delay is None:
        return None
    is_number = isinstance(delay, (int, float)) and not isinstance(delay, bool)
    if not (is_number and 0 <= delay < math.inf):
        raise file.row_error(
            number, f"has {_DELAY} {delay!r} in {place}; expected seconds of at least 0."
        )
    return float(delay)
