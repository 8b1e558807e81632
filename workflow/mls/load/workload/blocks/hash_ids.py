"""The hash ids of a trace's row: one for each block of its prompt, equal where the tokens are."""

from __future__ import annotations

from typing import Any

COLUMN = "hash_ids"


class BlockNumbers:
    """Numbers the ids of a trace, 0… as they first appear. An id may be a number or a text."""

    def __init__(self) -> None:
        self._numbers: dict[int | str, int] = {}

    def __call__(self, cell: Any) -> tuple[int, ...] | None:
        """The numbers of a row's ids; None of anything but a list of ids."""
        if not isinstance(cell, list) or not all(_is_id(each) for each in cell):
            return None
        return tuple(self._numbers.setdefault(each, len(self._numbers)) for each in cell)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)
