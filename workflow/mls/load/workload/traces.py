"""Arrival traces: when requests came and how long they were, from a CSV or JSON Lines file."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mls.config.sections.load import Load
from mls.core.errors import UserError

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True)
class Trace:
    """Arrivals in s since the first, ascending; token lengths where the file has them."""

    at_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64] | None
    output_tokens: NDArray[np.int64] | None


def read_trace(load: Load) -> Trace:
    """Read `load.file`. Raises `UserError` naming the file and row that are not as expected."""
    path = Path(load.file or "").expanduser()
    names = {key: load.columns.get(key, key) for key in ("time", "prompt_tokens", "output_tokens")}
    found: dict[str, list[float]] = {key: [] for key in names}
    number = 0
    for number, row in _rows(path):
        if number == 1:
            _check_columns(path, load, names, row)
        for key, name in names.items():
            if key == "time" or name in row:
                found[key].append(_value(path, number, name, row.get(name)))
        times = found["time"]
        if len(times) > 1 and times[-1] < times[-2]:
            raise UserError(
                f"load.file: row {number} of {path} has {names['time']} {times[-1]:g} after "
                f"{times[-2]:g}; sort the trace by time."
            )
    if not number:
        raise UserError(f"load.file: {path} has no rows.")
    # counted from the first row in the trace's own unit, in which they are exact
    at = np.array(found["time"]) - found["time"][0]
    lengths = {key: _lengths(path, names[key], found[key], number) for key in list(names)[1:]}
    return Trace(at / _PER_SECOND[load.time_unit], **lengths)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, row), counted from 1 without the CSV's header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if path.suffix.lower() == ".csv":
                yield from enumerate(csv.DictReader(stream), 1)
                return
            if path.suffix.lower() not in (".jsonl", ".ndjson"):
                raise UserError(f"load.file: {path} must end in .csv or .jsonl.")
            lines = (line for line in stream if line.strip())
            for number, line in enumerate(lines, 1):
                row = orjson.loads(line)
                if not isinstance(row, dict):
                    raise UserError(f"load.file: row {number} of {path} is not a JSON object.")
                yield number, row
    except OSError as error:
        raise UserError(f"load.file: {path} can't be read ({error.strerror}).") from None
    except orjson.JSONDecodeError as error:
        raise UserError(f"load.file: {path} is not JSON Lines ({error}).") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"load.file: {path} is not UTF-8 text ({error}).") from None


def _check_columns(path: Path, load: Load, names: dict[str, str], row: dict[str, Any]) -> None:
    """A missing time, or a length column that the config names."""
    for key in ("time", *load.columns):
        if names[key] not in row:
            raise UserError(
                f"load.columns.{key}: {path} has no column {names[key]!r}; "
                f"it has {', '.join(map(str, row))}."
            )


def _value(path: Path, number: int, name: str, text: Any) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise UserError(
            f"load.file: row {number} of {path} has {name} {text!r}; expected a number."
        )
    return value


def _lengths(path: Path, name: str, values: list[float], rows: int) -> NDArray[np.int64] | None:
    if not values:
        return None
    if len(values) != rows or any(value < 1 or value != int(value) for value in values):
        raise UserError(
            f"load.file: {path} must have a whole number of at least 1 as {name} in every row."
        )
    return np.array(values, np.int64)
