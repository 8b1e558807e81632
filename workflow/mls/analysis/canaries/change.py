"""Do two servers say the same to the canaries alone? Of the cells that two sets of results share."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mls.analysis.canaries.references import NO_MATTER, as_key, parting, references, request
from mls.analysis.cell.result import CellResult
from mls.config.axes import LOAD_AXES, RUN_AXES, WORKLOAD_AXES
from mls.core.run_result import CanaryReference

OF_THE_LOAD = RUN_AXES | LOAD_AXES | WORKLOAD_AXES | NO_MATTER
"""Axes that say nothing of the server; those of the request are in `request`."""

_Texts = dict[tuple[str, ...], list[CanaryReference]]
"""A text, by its digests → the references that have it."""


@dataclass(frozen=True)
class CanaryChange:
    """How far the greedy replies alone of two sides differ.

    canaries: those that both have. different: how many differ. tokens: that were compared. before:
    the median of the tokens before a difference; None without any.
    """

    canaries: int
    different: int
    tokens: float
    before: float | None


def canary_change(
    pairs: Iterable[tuple[dict[str, Any], CellResult, CellResult]],
) -> CanaryChange | None:
    """The change of the replies alone; None where both sides have no canary in common.

    pairs: the axes that both sides have, and the cell of either side. A canary that several cells
    have counts once, by the text that most repeats of a side have. Settings of the server that are
    no axis may differ: they are what is compared.
    """
    base: dict[str, _Texts] = {}
    new: dict[str, _Texts] = {}
    for axes, *sides in pairs:
        kind = {axis: value for axis, value in axes.items() if axis not in OF_THE_LOAD}
        for texts, cell in zip((base, new), sides, strict=True):
            _gather(texts, as_key(kind), cell)
    partings = [
        parting(*_usual(texts, new[canary])) for canary, texts in base.items() if canary in new
    ]
    if not partings:
        return None
    before = [way.tokens for way in partings if way.differs]
    return CanaryChange(
        canaries=len(partings),
        different=len(before),
        tokens=sum(way.tokens for way in partings),
        before=statistics.median(before) if before else None,
    )


def _gather(texts: dict[str, _Texts], kind: str, cell: CellResult) -> None:
    for repeat in cell.ok:
        if repeat.result:
            asked = kind + request(repeat.result)
            for one in references(repeat.result):
                own = texts.setdefault(asked + one.prompt_sha256, {})
                own.setdefault(tuple(one.prefixes), []).append(one)


def _usual(base: _Texts, new: _Texts) -> tuple[CanaryReference, CanaryReference]:
    """What either side says most often: the same, where several texts are as frequent."""
    ours, theirs = _most(base), _most(new)
    both = [text for text in ours if text in theirs]
    one, other = (both[0], both[0]) if both else (ours[0], theirs[0])
    return base[one][0], new[other][0]


def _most(texts: _Texts) -> list[tuple[str, ...]]:
    most = max(map(len, texts.values()))
    return sorted(text for text, own in texts.items() if len(own) == most)
