"""The hash ids of a trace's row: one for each block of its prompt, equal where the tokens are."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

COLUMN = "hash_ids"


class BlockNumbers:
    """Numbers the ids of a trace, 0… as they first appear. An id may be a number or a text."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def __call__(
        self, cell: Any, scope: int | None = None, rest: int = 0
    ) -> tuple[int, ...] | None:
        """The numbers of a row's ids; None of anything but a list of ids.

        scope: ids of different scopes are different ones. rest: tokens after the last id's block,
        which have a number of their own, equal for equal prompts alone.
        """
        if not isinstance(cell, list) or not all(_is_id(each) for each in cell):
            return None
        numbers = tuple(self._number((scope, each)) for each in cell)
        return (*numbers, self._number((scope, numbers, rest))) if rest else numbers

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)
