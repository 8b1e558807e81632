"""Prompts from a file of the user's: JSON Lines, JSON, CSV or Parquet, one row a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.conversations.aiperf import TURNS, as_messages
from mls.load.workload.media.parts import Media, MediaFacts
from mls.load.workload.rows import RowFile, whole_number
from mls.load.workload.unusable import UnusableRowError, usable_rows
from mls.protocol.content import Content, Messages, content_text

_PROMPTS = ("messages", "conversations", "conversation", TURNS, "prompt", "text")
_REPLY_LENGTHS = ("output_tokens_count", "output_length")
"""Columns of the reply's length in the files of guidellm and of AIPerf."""
# OpenAI's roles, and those of ShareGPT and its descendants
_ROLES = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model"), "assistant"),
    "function_call": "assistant",
    **dict.fromkeys(("tool", "function", "observation", "function_response"), "tool"),
}
_QUOTE_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt as the messages that lead up to the reply, and the reply's length if it is given.

    media: what the last of them has of images and audio, once that is loaded.
    """

    messages: Messages
    output_tokens: int | None = None
    media: MediaFacts | None = None

    @property
    def text(self) -> str:
        texts = (content_text(message["content"]) for message in self.messages)
        return "\n\n".join(text for text in texts if text)


class Text(Protocol):
    """A row with a text, by whose tokens rows are chosen."""

    @property
    def text(self) -> str: ...


T = TypeVar("T", bound=Text)


@dataclass(frozen=True)
class Dataset:
    """The usable rows of a file, in its order. notes: sentences for the user."""

    path: Path
    rows: list[Row]
    media: Media
    notes: tuple[str, ...] = ()


def read_dataset(workload: Workload) -> Dataset:
    """Read `workload.file`. Raises `UserError` that names the row and column not as expected."""
    file = RowFile("workload.file", Path(workload.file or "").expanduser())
    media = Media(workload.media)
    lengths: set[str] = set()

    def read(number: int, row: dict[str, Any]) -> Row:
        name = workload.columns.get("output_tokens") or _reply_length_column(row)
        if name:
            lengths.add(name)
        return _row(file, number, row, workload, name, media)

    rows, notes = usable_rows(file, read)
    for name in lengths - {workload.columns.get("output_tokens")}:
        notes += (f"workload.file: replies are as long as {name} of {file.path} says.",)
    return Dataset(file.path, rows, media, notes)


def draw_rows(
    dataset: Dataset,
    workload: Workload,
    seed: int,
    requests: int | None,
    count: Callable[[str], int | None],
) -> list[Row]:
    """The rows of the jobs 0, 1, … of a run, by seed, with the files that they name; see `choose`."""
    rows = choose(dataset.path, dataset.rows, workload, seed, requests, count)
    return [_loaded(row, dataset.media) for row in rows]


def choose(
    path: Path,
    rows: Sequence[T],
    workload: Workload,
    seed: int,
    requests: int | None,
    count: Callable[[str], int | None],
) -> list[T]:
    """The rows of the jobs (conversations) 0, 1, … of a run, by seed. With `replace`: all rows to
    draw from.

    requests: of the run; None when time ends it. count: tokens of a text by the server.
    Raises `UserError`.
    """
    if requests is None and not workload.replace:
        raise UserError(
            "workload.replace: must be true in a run that time ends, as it may need any number of "
            "rows."
        )
    order = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed])))
    candidates = [rows[i] for i in order.permutation(len(rows))]
    limit = len(rows) if workload.replace else requests or 0
    sample = _of_length(candidates, workload, count, limit)
    if not sample or (not workload.replace and len(sample) < limit):
        qualifier = "" if len(sample) == len(rows) else " of the lengths asked for"
        raise UserError(
            f"workload.file: {path} has {len(sample)} usable rows{qualifier}, and the run wants "
            f"{requests}; lower run.iters or run.rounds, or set workload.replace to true."
            if sample
            else f"workload.file: none of the {len(rows)} usable rows of {path} has a length between "
            "workload.min_prompt_tokens and workload.max_prompt_tokens."
        )
    return sample


def _loaded(row: Row, media: Media) -> Row:
    """The row with the files that it names as base64. Raises `UserError`."""
    *before, last = row.messages
    content, facts = media.loaded(last["content"])
    return replace(row, messages=[*before, last | {"content": content}], media=facts)


def _of_length(
    rows: Iterable[T], workload: Workload, count: Callable[[str], int | None], limit: int
) -> list[T]:
    least, most = workload.min_prompt_tokens, workload.max_prompt_tokens
    fitting: list[T] = []
    for row in rows:
        if len(fitting) == limit:
            break
        if least > 1 or most is not None:
            tokens = count(row.text)
            if tokens is None:
                raise UserError(
                    "workload.min_prompt_tokens and max_prompt_tokens need a server with /tokenize."
                )
            if tokens < least or (most is not None and tokens > most):
                continue
        fitting.append(row)
    return fitting


def prompt_cell(
    file: RowFile, number: int, row: dict[str, Any], workload: Workload
) -> tuple[str, Any]:
    """(column, cell) of a row's prompt, AIPerf's turns as messages. Raises `UserError`."""
    name = workload.columns.get("prompt")
    column = name or next((key for key in _PROMPTS if key in row), "prompt")
    cell = _cell(file, number, row, column)
    return column, as_messages(cell) if column == TURNS else cell


def _cell(file: RowFile, number: int, row: dict[str, Any], column: str) -> Any:
    if column not in row:
        raise UserError(
            f"workload.columns: row {number} of {file.path} has no column {column!r}; "
            f"it has {', '.join(map(str, row))}."
        )
    return row[column]


def _row(
    file: RowFile,
    number: int,
    row: dict[str, Any],
    workload: Workload,
    length: str | None,
    media: Media,
) -> Row:
    """A row's prompt. length: the column of the reply's length; None without one."""
    column, cell = prompt_cell(file, number, row, workload)
    tokens = None
    if length:
        tokens = _output_tokens(file, number, length, _cell(file, number, row, length))
    return Row(_messages(cell, column, media), tokens)


def _reply_length_column(row: dict[str, Any]) -> str | None:
    """The column of the reply's length of a row as guidellm or AIPerf has it; None without one."""
    return next((key for key in _REPLY_LENGTHS if key in row), None)


def _output_tokens(file: RowFile, number: int, name: str, cell: Any) -> int | None:
    """The reply's length; None of an empty cell and of NaN, which table programs write for one."""
    if cell is None or str(cell).strip().lower() in ("", "nan"):
        return None
    tokens = whole_number(cell)
    if tokens is None or tokens < 1:
        raise file.row_error(number, f"has {name} {cell!r}; expected a whole number of at least 1.")
    return tokens


def _messages(cell: Any, column: str, media: Media) -> Messages:
    """The messages before the first reply: system messages, and the user's first.

    Replies before the user's first message are left out. Raises `UnusableRowError`.
    """
    if isinstance(cell, str):
        return [{"role": "user", "content": sendable(cell, column)}]
    if not isinstance(cell, list):
        raise UnusableRowError(
            f"{column} is {'empty' if cell is None else 'neither a text nor a list of messages'}"
        )
    messages: Messages = []
    for turn in cell:
        role = role_of(turn)
        if role not in ("user", "system"):
            continue
        place = f"the first {role} message"
        content = content_of(turn, place, media if role == "user" else None)
        messages.append({"role": role, "content": content})
        if role == "user":
            return messages
    raise UnusableRowError(f"{column} has no message of a user" if cell else f"{column} is empty")


def role_of(turn: Any) -> str:
    """The role of a message in OpenAI's words. Raises `UnusableRowError`."""
    speaker = (turn.get("role") or turn.get("from")) if isinstance(turn, dict) else None
    role = _ROLES.get(str(speaker).lower())
    if role is None:
        raise UnusableRowError(f"a message has the role {str(speaker)[:_QUOTE_CHARACTERS]!r}")
    return role


def content_of(turn: dict[str, Any], place: str, media: Media | None) -> Content:
    """The content of a message: one text, or parts where one is not text.

    media: None allows none. Raises `UnusableRowError`.
    """
    content: Any = turn.get("content")
    if content is None:
        content = turn.get("value")
    if not isinstance(content, list):
        return sendable(content, place)
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    if all(isinstance(text, str) for text in texts):
        return sendable("\n".join(map(str, texts)), place)
    if media is None:
        raise UnusableRowError(f"{place} has parts other than text")
    return [
        media.part(part, place) if text is None else {"type": "text", "text": sendable(text, place)}
        for part, text in zip(content, texts, strict=True)
        if text is None or text.strip()
    ]


def sendable(text: Any, place: str) -> str:
    """The text, which isn't empty and can be encoded. Raises `UnusableRowError`."""
    if text is None or (isinstance(text, str) and not text.strip()):
        raise UnusableRowError(f"{place} is empty")
    if not isinstance(text, str):
        raise UnusableRowError(f"{place} is not a text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnusableRowError(f"{place} has half of a surrogate pair") from None
    return text
