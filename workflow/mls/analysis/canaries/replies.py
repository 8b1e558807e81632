"""The replies to a cell's canaries under load, beside those alone."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mls.analysis import intervals
from mls.analysis.canaries.references import references
from mls.analysis.intervals import Estimate
from mls.core.record import CANARY_COLUMNS
from mls.core.run_result import CanaryReference, RunResult

DIFFERENT = "canaries.different_share"
"""Share of the replies to canaries under load that differ from those alone, over repeats."""

MOST_AFTER = 200
"""Characters of a text that are kept after a difference."""


_Row = dict[str, Any]
"""The columns on a canary, and the reply's text, of one record."""


class MeasuredRepeat(NamedTuple):
    """A repeat with its records (schema `mls.core.record.REQUESTS`)."""

    number: int
    result: RunResult
    table: pa.Table


@dataclass(frozen=True)
class Example:
    """A reply that differs, and the one alone in the same repeat.

    character: the first that differs. Both texts end `MOST_AFTER` characters later.
    """

    repeat: int
    reference: str
    reply: str
    character: int


@dataclass(frozen=True)
class CanaryReplies:
    """The replies to one canary in all repeats of a cell.

    number: counts from 1. tokens: of the reply alone, the median. asked, unlike: how often it was
    asked again alone, and how often that reply differed. replies: under load, those of failed
    requests left out. kinds: of a difference (`canary_difference` of the records) → replies that
    have it. before: the median of the tokens before it; None without any. example: only where the
    results hold texts (`run.keep_output`).
    """

    number: int
    tokens: float
    asked: int
    unlike: int
    replies: int
    kinds: dict[str, int]
    before: float | None
    example: Example | None

    @property
    def different(self) -> int:
        return sum(self.kinds.values())


def canary_replies(repeats: Sequence[MeasuredRepeat]) -> tuple[CanaryReplies, ...]:
    """The canaries of a cell by their numbers; none where it has no canaries."""
    numbers = range(max((len(references(repeat.result)) for repeat in repeats), default=0))
    answered = [_answered(repeat.table) if numbers else [] for repeat in repeats]
    return tuple(
        _replies(
            repeats, number, [[row for row in own if row["canary"] == number] for own in answered]
        )
        for number in numbers
    )


def different_share(tables: Iterable[pa.Table]) -> Estimate | None:
    """The estimate of `DIFFERENT`; None without replies to canaries. tables: of each repeat."""
    differences = [table.column("canary_difference").drop_null() for table in tables]
    shares = [pc.mean(pc.not_equal(kinds, "none")).as_py() for kinds in differences if len(kinds)]
    return intervals.mean(shares)


def _replies(
    repeats: Sequence[MeasuredRepeat], number: int, answered: list[list[_Row]]
) -> CanaryReplies:
    """answered: of each repeat, the rows of this canary."""
    alone = [each[number] for repeat in repeats if len(each := references(repeat.result)) > number]
    rows = [row for own in answered for row in own]
    different = [row for row in rows if row["canary_difference"] != "none"]
    examples = (
        _example(repeat, references(repeat.result)[number], row)
        for repeat, own in zip(repeats, answered, strict=True)
        for row in own
        if row["canary_difference"] != "none"
    )
    return CanaryReplies(
        number=number + 1,
        tokens=statistics.median(reference.tokens for reference in alone),
        asked=len(alone),
        unlike=sum(reference.again != "none" for reference in alone),
        replies=len(rows),
        kinds=dict(Counter(row["canary_difference"] for row in different)),
        before=statistics.median(row["canary_tokens"] for row in different) if different else None,
        example=next((example for example in examples if example), None),
    )


def _answered(table: pa.Table) -> list[_Row]:
    # before the filter, as the lists of chunks are most of a table
    columns = table.select([*CANARY_COLUMNS, "output"])
    rows: list[_Row] = columns.filter(pc.is_valid(columns.column("canary_difference"))).to_pylist()
    return rows


def _example(repeat: MeasuredRepeat, reference: CanaryReference, row: _Row) -> Example | None:
    """None where a text isn't kept."""
    if reference.text is None or row["output"] is None or row["canary_character"] is None:
        return None
    end = row["canary_character"] + MOST_AFTER
    texts = reference.text[:end], row["output"][:end]
    return Example(repeat.number, *texts, row["canary_character"])
