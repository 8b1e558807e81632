"""Arrival traces: when requests came and how long they were, from a file with one row a request."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mls.config.sections.load import Load
from mls.core.errors import UserError
from mls.load.workload.blocks.hash_ids import COLUMN, BlockNumbers
from mls.load.workload.blocks.sessions import SessionRows
from mls.load.workload.rows import RowFile, whole_number
from mls.load.workload.unusable import UnusableRowError, usable_rows

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_LENGTHS: tuple[Literal["prompt_tokens", "output_tokens"], ...] = ("prompt_tokens", "output_tokens")
_KEYS: tuple[Literal["time", "prompt_tokens", "output_tokens"], ...] = ("time", *_LENGTHS)


@dataclass(frozen=True)
class Trace:
    """Arrivals in s since the first, ascending; token lengths where the file has them.

    row: of each arrival in the file, from 1. blocks: numbers of the blocks of each prompt, equal
    where their hash ids are; None unless they were to be read. notes: sentences for the user.
    sessions: of a trace of agents, whose times are pauses, so that `at_s` is 0.
    """

    at_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64] | None
    output_tokens: NDArray[np.int64] | None
    row: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    blocks: tuple[tuple[int, ...], ...] | None = None
    sessions: SessionRows | None = None


@dataclass(frozen=True)
class _Format:
    """A trace's column names, and the unit of its times unless they are dates.

    marks: further columns, by which it is told from formats that have the same names.
    """

    columns: dict[str, str]
    time_unit: str = "s"
    marks: tuple[str, ...] = ()

    def fits(self, row: dict[str, Any]) -> bool:
        return row.keys() >= {*self.columns.values(), *self.marks}


_HASHED: dict[str, str] = dict(
    zip(_KEYS, ("timestamp", "input_length", "output_length"), strict=True)
)
_MOONCAKE = _Format(_HASHED, "ms")
"""Also AIPerf's, which may lack hash ids."""
_AGENTS = {"requests", "session_id"}
"""Columns of a trace whose requests come in sessions."""
_OF_AGENTS = (
    " A trace of agents goes into workload.file (kind blocks), which sends the requests of a session one "
    "after another."
)
_PUBLISHED = (
    # Azure's inference traces of 2023 and 2024
    _Format(dict(zip(_KEYS, ("TIMESTAMP", "ContextTokens", "GeneratedTokens"), strict=True))),
    # BurstGPT
    _Format(dict(zip(_KEYS, ("Timestamp", "Request tokens", "Response tokens"), strict=True))),
    # Bailian, Qwen's traces
    _Format(_HASHED, "s", ("chat_id",)),
    _MOONCAKE,
)


def read_trace(load: Load, blocks: bool = False) -> Trace:
    """Read `load.file`, with its hash ids where `blocks` is set.

    Raises `UserError` naming the file and row that are not as expected.
    """
    file = RowFile("load.file", Path(load.file or "").expanduser())
    parser = _Parser(file, load, blocks)
    arrivals, notes = usable_rows(file, parser)
    # counted from the first row in the trace's own unit, in which they are exact
    at = np.array([arrival.at for arrival in arrivals]) - arrivals[0].at
    prompts, replies = (
        np.array([getattr(arrival, key) for arrival in arrivals], np.int64)
        if key in parser.columns
        else None
        for key in _LENGTHS
    )
    return Trace(
        at / _PER_SECOND[parser.time_unit],
        prompts,
        replies,
        row=np.array([arrival.row for arrival in arrivals], np.int64),
        notes=notes + parser.notes,
        blocks=tuple(arrival.blocks for arrival in arrivals) if parser.numbers else None,
    )


class _Arrival(NamedTuple):
    """A row of a trace. at: since the file's first row, in the parser's `time_unit`."""

    row: int
    at: float
    prompt_tokens: int | None
    output_tokens: int | None
    blocks: tuple[int, ...]


class _Parser:
    """Reads rows in order. columns, time_unit, notes, numbers: as the first row decides."""

    def __init__(self, file: RowFile, load: Load, blocks: bool) -> None:
        self.columns: dict[str, str] = {}
        self.time_unit = "s"
        self.notes: tuple[str, ...] = ()
        self.numbers: BlockNumbers | None = None
        self._blocks = blocks
        self._file = file
        self._load = load
        self._first: float | datetime = 0.0
        self._last: tuple[float, Any] = (-math.inf, None)

    def __call__(self, number: int, row: dict[str, Any]) -> _Arrival:
        if number == 1:
            self._begin(row)
        at = self._time(number, row)
        prompt, output = (self._tokens(number, key, row) for key in _LENGTHS)
        return _Arrival(number, at, prompt, output, self._numbers_of(number, row))

    def _begin(self, row: dict[str, Any]) -> None:
        load, file = self._load, self._file
        plain = _Format({key: load.columns.get(key, key) for key in _KEYS})
        layout = plain
        if not load.columns and "time" not in row:
            layout = next((each for each in _PUBLISHED if each.fits(row)), plain)
        for key in ("time", *load.columns):
            if layout.columns[key] not in row:
                raise UserError(
                    f"load.columns.{key}: {file.path} has no column {layout.columns[key]!r}; "
                    f"it has {', '.join(map(str, row))}."
                    f"{_OF_AGENTS if not _AGENTS.isdisjoint(row) else ''}"
                )
        self.columns = {key: name for key, name in layout.columns.items() if name in row}
        name = self.columns["time"]
        first = _moment(row[name])
        if first is None:
            raise file.row_error(1, f"has {name} {row[name]!r}; expected a number or a date.")
        self._first = first
        if not isinstance(first, datetime):
            self.time_unit = load.time_unit or layout.time_unit
        if COLUMN in row and self._blocks:
            self.numbers = BlockNumbers()
        elif COLUMN in row:
            self.notes = (
                f"load.file: {COLUMN} of {file.path} are not used: prompts don't share their "
                "beginnings as those of the trace did (workload.kind blocks makes them do).",
            )
        elif layout is _MOONCAKE and load.time_unit is None:
            self.notes = (
                f"load.file: {name} of {file.path} is read as ms, as in Mooncake's and AIPerf's traces; "
                "set load.time_unit to s where it is in s, as in guidellm's.",
            )
        if not _AGENTS.isdisjoint(row):
            self.notes += (
                f"load.file: requests of a session in {file.path} are sent by their times, whatever became of "
                f"those before.{_OF_AGENTS}",
            )

    def _time(self, number: int, row: dict[str, Any]) -> float:
        name = self.columns["time"]
        cell = row.get(name)
        moment = _moment(cell)
        if moment is None or _kind(moment) != _kind(self._first):
            raise self._file.row_error(
                number, f"has {name} {cell!r}; expected {_kind(self._first)} as in row 1."
            )
        at = _since(moment, self._first)
        before, cell_before = self._last
        if at < before:
            raise self._file.row_error(
                number, f"has {name} {cell} after {cell_before}; sort the trace by time."
            )
        self._last = at, cell
        return at

    def _numbers_of(self, number: int, row: dict[str, Any]) -> tuple[int, ...]:
        if self.numbers is None:
            return ()
        numbers = self.numbers(row.get(COLUMN))
        if numbers is None:
            raise self._file.row_error(
                number, f"has {COLUMN} {row.get(COLUMN)!r:.40}; expected a list of ids."
            )
        return numbers

    def _tokens(self, number: int, key: str, row: dict[str, Any]) -> int | None:
        name = self.columns.get(key)
        if name is None:
            return None
        cell = row.get(name)
        tokens = whole_number(cell)
        if tokens is None or tokens < 0:
            raise self._file.row_error(
                number, f"has {name} {cell!r}; expected a whole number of tokens."
            )
        if not tokens:
            raise UnusableRowError(f"{name} is 0, as of a request that failed")
        return tokens


def _moment(cell: Any) -> float | datetime | None:
    """A time as a number or an ISO 8601 date; None of anything else."""
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        pass
    else:
        return number if math.isfinite(number) else None
    try:
        return datetime.fromisoformat(_UTC.sub("Z", str(cell).strip()))
    except ValueError:
        return None


_UTC = re.compile(r" (UTC|GMT)$")
"""The zone's name, which databases write after a date, for ISO 8601's `Z`."""


def _kind(moment: float | datetime) -> str:
    if not isinstance(moment, datetime):
        return "a number"
    return "a date without an offset" if moment.utcoffset() is None else "a date with an offset"


def _since(moment: float | datetime, first: float | datetime) -> float:
    if isinstance(moment, datetime) and isinstance(first, datetime):
        return (moment - first).total_seconds()
    assert isinstance(moment, float) and isinstance(first, float)
    return moment - first
