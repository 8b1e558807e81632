"""Columns of a request table as numpy arrays, with masks for nulls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mls.core.record import CANCELLED

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Ints64:
    """An integer column, one entry a request. `values` is 0 where `valid` is false."""

    values: Ints
    valid: Bools


@dataclass(frozen=True)
class Lists:
    """A flattened list column. Request i owns `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[Any]
    offsets: Ints

    @property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)

    @property
    def owner(self) -> Ints:
        """Index of the request that each value belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)


def ints(table: pa.Table, name: str) -> Ints64:
    """An integer column. Nanoseconds stay integers, since floats would lose digits."""
    column = table.column(name)
    rows = len(column)
    # most columns have no null or nothing else, and a hundred are read for each repeat
    if column.null_count == rows:
        return Ints64(np.zeros(rows, np.int64), np.zeros(rows, np.bool_))
    if not column.null_count:
        return Ints64(column.to_numpy().astype(np.int64, copy=False), np.ones(rows, np.bool_))
    values = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    return Ints64(values, pc.is_valid(column).to_numpy())


def successions(table: pa.Table) -> tuple[Ints, Ints]:
    """(rows, the row of the request that followed each of them at its place); the last ones have none."""
    place = ints(table, "rank").values << 32 | ints(table, "slot").values
    order = np.lexsort((ints(table, "start_ns").values, place))
    here, there = order[:-1], order[1:]
    same = place[here] == place[there]
    return here[same], there[same]


def total(column: Ints64, rows: Bools) -> int | None:
    """Sum over the rows; None when one of them is null."""
    return int(column.values[rows].sum()) if column.valid[rows].all() else None


def floats(table: pa.Table, name: str) -> Floats:
    """A numeric column as float64, NaN where null."""
    column = table.column(name)
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    if not column.null_count:
        return column.to_numpy().astype(np.float64, copy=False)
    return pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()


def lists(table: pa.Table, name: str) -> Lists:
    """A list column; a null list counts as empty."""
    column = table.column(name)
    counts = pc.list_value_length(column)
    if counts.null_count:
        counts = pc.fill_null(counts, 0)
    lengths = counts.to_numpy().astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Lists(pc.list_flatten(column).to_numpy(), offsets)


def with_reasoning(table: pa.Table) -> Bools:
    """Requests whose replies have reasoning, hidden or not."""
    chunks, tokens = ints(table, "reasoning_chunks").values, ints(table, "reasoning_tokens").values
    return (chunks > 0) | (tokens > 0)


def without_answer(table: pa.Table) -> Bools:
    """Requests whose replies have reasoning, and neither content nor a tool call."""
    return with_reasoning(table) & ~ints(table, "first_answer_ns").valid


def succeeded(table: pa.Table) -> Bools:
    """Requests without an error."""
    return pc.is_null(table.column("error")).to_numpy()


def cancelled(table: pa.Table) -> Bools:
    """Requests that the client hung up on."""
    return pc.fill_null(pc.equal(table.column("error"), CANCELLED), False).to_numpy()
