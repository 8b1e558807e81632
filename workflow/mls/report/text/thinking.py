"""Cells whose replies think before they answer."""

from __future__ import annotations

from collections.abc import Iterable

from mls.analysis.cell.result import CellResult


def thinks(cells: Iterable[CellResult]) -> bool:
    """Whether the first answer (TTFA) of any of the cells is not always its first token (TTFT)."""
    return any(_thinks(cell) for cell in cells)


def _thinks(cell: CellResult) -> bool:
    first, answer = (cell.estimates.get(f"{name}.mean") for name in ("ttft_ms", "ttfa_ms"))
    return answer is not None and (first is None or first.value != answer.value)
