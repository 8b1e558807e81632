"""Words on chunks of several tokens, between which ITL is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mls.analysis.cell.result import CellResult
from mls.report.text.numbers import number

MERGED = 1.05
"""The most tokens a chunk for which ITL is taken for the time of one token."""


def merged(cells: Iterable[CellResult]) -> list[float]:
    """Tokens a chunk of the cells whose chunks hold several, in ascending order."""
    known = [cell.estimates.get("tokens_per_chunk") for cell in cells]
    return sorted(one.value for one in known if one and one.value > MERGED)


def chunk_note(cells: Sequence[CellResult]) -> str:
    """What ITL is the time of, where that isn't one token; empty elsewhere."""
    tokens = list(dict.fromkeys(number(value) for value in merged(cells)))
    if not tokens:
        return ""
    span = tokens[0] if len(tokens) == 1 else f"{tokens[0]} to {tokens[-1]}"
    known = any("tpot_ms.mean" in cell.estimates for cell in cells)
    return f"ITL is of chunks of {span} tokens{'; TPOT is the time of one' if known else ''}."
