"""The comparison of an archive's tables with those made anew from its records."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mls.analysis.study import Study
from mls.analysis.tables import TABLES, tables
from mls.config.axes import axes
from mls.core.arrow import read_parquet

TOLERANCE = 1e-9
"""Relative tolerance of floating-point figures: processors differ in the last digits."""


@dataclass(frozen=True)
class Mismatch:
    """The first cell in which a packed table differs from the one made anew."""

    table: str
    where: str
    """The place of the cell and both values, as a clause."""
    identity: bool
    """Whether the cell is of a row's identity (axes and repeat), which no definition changes."""


def mismatches(study: Study, packed: Mapping[str, bytes]) -> Iterator[Mismatch]:
    """The first mismatch of each table, if any. packed: name in `TABLES` → content."""
    remade = tables(study)
    for name in TABLES:
        identity = [*axes(study.config), *(["repeat"] if name.startswith("summary") else [])]
        floats = _floats(remade[name.replace(".csv", ".parquet")])
        try:
            first = _first(
                _columns(name, packed[name]), _columns(name, remade[name]), identity, floats
            )
        except (pa.ArrowException, csv.Error, UnicodeDecodeError):
            first = ("it can't be read as a table", True)
        if first:
            yield Mismatch(name, *first)


def _columns(name: str, data: bytes) -> dict[str, list[Any]]:
    """Column → its values, which are texts in CSV.

    Raises `ArrowException`, `csv.Error` or `UnicodeDecodeError` for anything but such a table.
    """
    if name.endswith(".parquet"):
        columns: dict[str, list[Any]] = read_parquet(data).to_pydict()
        return columns
    rows = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    header = rows.pop(0) if rows else []
    if any(len(row) != len(header) for row in rows):
        raise csv.Error("rows differ in length")
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def _floats(parquet: bytes) -> set[str]:
    schema = pq.read_schema(pa.BufferReader(parquet))
    return {column.name for column in schema if pa.types.is_floating(column.type)}


def _first(
    packed: dict[str, list[Any]],
    remade: dict[str, list[Any]],
    identity: list[str],
    floats: set[str],
) -> tuple[str, bool] | None:
    """(clause on the place, whether in the identity) of the first difference; None without one."""
    for column in identity:
        if column not in packed:
            return f"it has no column {column}", True
        if len(packed[column]) != len(remade[column]):
            return f"it has {len(packed[column])} rows and not {len(remade[column])}", True
    for column in dict.fromkeys([*identity, *remade]):
        if column not in packed:
            return f"it has no column {column}", False
        for row, (one, other) in enumerate(zip(packed[column], remade[column], strict=True)):
            if not _same(one, other, column in floats):
                where = ", ".join(f"{name} {remade[name][row]}" for name in identity)
                return f"{column} of {where} is {one!r} and not {other!r}", column in identity
    more = [column for column in packed if column not in remade]
    return (f"it has a column {more[0]} too many", False) if more else None


def _same(one: Any, other: Any, floating: bool) -> bool:
    if type(one) is type(other) and one == other:
        return True
    if not floating or one in (None, "") or other in (None, ""):
        return False
    try:
        first, second = float(one), float(other)
    except ValueError:
        return False
    return math.isclose(first, second, rel_tol=TOLERANCE) or (first != first and second != second)
