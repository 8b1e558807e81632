"""Prompts from a file of the user's: JSON Lines, JSON, CSV or Parquet, one row a prompt."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mls.config.sections.workload import Workload
from mls.core.errors import UserError

Messages = list[dict[str, str]]
_SHAREGPT_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "system": "system"}


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt as the messages that lead up to the reply, and the reply's length if it is given."""

    messages: Messages
    output_tokens: int | None = None

    @property
    def text(self) -> str:
        return "\n\n".join(message["content"] for message in self.messages)


def draw_rows(
    workload: Workload, seed: int, requests: int | None, count: Callable[[str], int | None]
) -> list[Row]:
    """The rows of the jobs 0, 1, … of a run, by seed. With `replace`: all rows to draw from.

    requests: of the run; None when time ends it. count: tokens of a text by the server.
    Raises `UserError`.
    """
    path = Path(workload.file or "").expanduser()
    rows = [_row(path, n, row, workload) for n, row in enumerate(_read(path), 1)]
    if not rows:
        raise UserError(f"workload.file: {path} has no rows.")
    if requests is None and not workload.replace:
        raise UserError(
            "workload.replace: must be true in a run that time ends, as it may need any number of rows."
        )
    order = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed])))
    shuffled = [rows[i] for i in order.permutation(len(rows))]
    wanted = len(rows) if workload.replace else requests or 0
    found = _of_length(shuffled, workload, count, wanted)
    if not found or (not workload.replace and len(found) < wanted):
        fit = "" if len(found) == len(rows) else " of the lengths asked for"
        raise UserError(
            f"workload.file: {path} has {len(found)} rows{fit}, and the run wants {requests}; "
            "lower run.iters or run.rounds, or set workload.replace to true."
            if found
            else f"workload.file: none of the {len(rows)} rows of {path} has a length between "
            "workload.min_prompt_tokens and workload.max_prompt_tokens."
        )
    return found


def _of_length(
    rows: Iterable[Row], workload: Workload, count: Callable[[str], int | None], wanted: int
) -> list[Row]:
    least, most = workload.min_prompt_tokens, workload.max_prompt_tokens
    found: list[Row] = []
    for row in rows:
        if len(found) == wanted:
            break
        if least > 1 or most is not None:
            tokens = count(row.text)
            if tokens is None:
                raise UserError(
                    "workload.min_prompt_tokens and max_prompt_tokens need a server with /tokenize."
                )
            if tokens < least or (most is not None and tokens > most):
                continue
        found.append(row)
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            return pq.read_table(path).to_pylist()
        if kind == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as stream:
                return list(csv.DictReader(stream))
        if kind in (".jsonl", ".ndjson"):
            return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        if kind == ".json":
            whole = orjson.loads(path.read_bytes() or b"null")
            return whole if isinstance(whole, list) else []
    except OSError as error:
        raise UserError(
            f"workload.file: {path} can't be read ({error.strerror or error})."
        ) from None
    except (orjson.JSONDecodeError, pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"workload.file: {path} is not what its name says ({said}).") from None
    raise UserError(f"workload.file: {path} must end in .jsonl, .json, .csv or .parquet.")


def _row(path: Path, number: int, row: Any, workload: Workload) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"workload.file: row {number} of {path} is not a JSON object.")
    columns = workload.columns
    named = columns.get("prompt")
    name = named or next((k for k in ("messages", "conversations", "prompt") if k in row), "prompt")
    for column in (name, columns.get("output_tokens")):
        if column is not None and column not in row:
            raise UserError(
                f"workload.columns: row {number} of {path} has no column {column!r}; "
                f"it has {', '.join(map(str, row))}."
            )
    messages = _messages(row[name])
    if messages is None:
        raise UserError(
            f"workload.file: row {number} of {path} has no prompt in {name}; expected a text, "
            "OpenAI messages, or a ShareGPT conversation."
        )
    length = row[columns["output_tokens"]] if "output_tokens" in columns else None
    try:
        tokens = None if length in (None, "") else int(length)
    except (TypeError, ValueError):
        tokens = 0
    if tokens is not None and tokens < 1:
        raise UserError(
            f"workload.file: row {number} of {path} has {columns['output_tokens']} {length!r}; "
            "expected a number of at least 1."
        )
    return Row(messages, tokens)


def _messages(value: Any) -> Messages | None:
    """What leads up to the first reply: messages up to the first of the user's, inclusive."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}] if value.strip() else None
    if not isinstance(value, list):
        return None
    found: Messages = []
    for item in value:
        if not isinstance(item, dict):
            return None
        role = item.get("role") or _SHAREGPT_ROLES.get(str(item.get("from")))
        content = item.get("content", item.get("value"))
        if not isinstance(role, str) or not isinstance(content, str):
            return None
        if role in ("user", "system"):
            found.append({"role": role, "content": content})
        if role == "user":
            return found
    return None
