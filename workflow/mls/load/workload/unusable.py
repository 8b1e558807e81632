"""Rows that a run can do without: left out and counted, unless they are most of a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mls.load.workload.rows import RowFile

T = TypeVar("T")


class UnusableRowError(ValueError):
    """A row to be left out. Its text is the reason, such as `prompt is empty`."""


def usable_rows(
    file: RowFile, parse: Callable[[int, dict[str, Any]], T]
) -> tuple[list[T], tuple[str, ...]]:
    """(usable rows in the file's order, a sentence for the user if others were left out).

    parse: (number from 1, row) → the row in the caller's form; raises `UnusableRowError` or
    `UserError`.

    Raises `UserError` for a file that can't be read, has no rows, or has more unusable rows than
    usable ones.
    """
    usable: list[T] = []
    number, first = 0, ""
    for number, row in enumerate(file.rows(), 1):
        try:
            usable.append(parse(number, row))
        except UnusableRowError as reason:
            first = first or f"row {number}, {reason}"
    if not number:
        raise file.error("has no rows.")
    unusable = number - len(usable)
    if not unusable:
        return usable, ()
    count = f"{unusable} of {number} rows can't be used (the first: {first})"
    if unusable > len(usable):
        raise file.error(f"is not as expected: {count}; at least half of them must be usable.")
    return usable, (f"{file.key}: {file.path} is used in part: {count}.",)
