"""The page's table of canaries: replies alone and under load, and where their texts part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mls.analysis.canaries.axes import axis_changes
from mls.analysis.canaries.replies import CanaryReplies, Example
from mls.analysis.study import Study
from mls.report.plots.series import label_or_load
from mls.report.text.canaries import axis_sentence

MOST_ROWS = 100
MOST_EXAMPLES = 12
MOST_BEFORE = 200
"""Characters of a text that are shown before a difference."""

END = "[end]"
"""What is marked in a text that ends where the other goes on."""


@dataclass(frozen=True)
class CanaryRow:
    """One canary of one cell, as texts."""

    cell: str
    figures: list[str]
    differs: bool


HEADINGS = (
    "canary",
    "tokens alone",
    "asked again alone",
    "replies under load",
    "differ",
    "how",
    "tokens before",
)


@dataclass(frozen=True)
class MarkedText:
    """A text around the first character that differs."""

    before: str
    at: str
    after: str


@dataclass(frozen=True)
class TextPair:
    """The reply to a canary alone, and one under load that differs."""

    title: str
    alone: MarkedText
    under_load: MarkedText


@dataclass(frozen=True)
class CanaryTable:
    """hidden: the rows beyond `MOST_ROWS`. pairs: one a cell; none unless results hold texts.

    sentences: on what axes of the server change in the replies alone.
    """

    rows: list[CanaryRow]
    hidden: int
    sentences: list[str]
    pairs: list[TextPair]


def canary_table(study: Study, names: list[str]) -> CanaryTable | None:
    """The table of all cells that have canaries; None without any.

    names: axes that name a cell. Of too many rows those with a difference are kept first.
    """
    rows = [
        CanaryRow(label_or_load(cell, names), _figures(canary), canary.different > 0)
        for cell in study.cells
        for canary in cell.canaries
    ]
    if not rows:
        return None
    places = sorted(range(len(rows)), key=lambda place: not rows[place].differs)[:MOST_ROWS]
    pairs = list(_pairs(study, names))[:MOST_EXAMPLES]
    sentences = [axis_sentence(along) for along in axis_changes(study.cells, study.varying)]
    kept = [rows[place] for place in sorted(places)]
    return CanaryTable(kept, len(rows) - len(places), sentences, pairs)


def _figures(canary: CanaryReplies) -> list[str]:
    again = f"{canary.unlike} of {canary.asked} differ" if canary.unlike else "alike"
    return [
        str(canary.number),
        f"{canary.tokens:.0f}",
        again,
        str(canary.replies),
        str(canary.different),
        ", ".join(f"{count} {kind}" for kind, count in sorted(canary.kinds.items())) or "–",
        "–" if canary.before is None else f"{canary.before:.0f}",
    ]


def _pairs(study: Study, names: list[str]) -> Iterator[TextPair]:
    for cell in study.cells:
        for canary in cell.canaries:
            if canary.example:
                repeat = canary.example.repeat
                title = f"{label_or_load(cell, names)}: canary {canary.number}, repeat {repeat}"
                yield _pair(title, canary.example)
                break


def _pair(title: str, example: Example) -> TextPair:
    texts = (_marked(text, example.character) for text in (example.reference, example.reply))
    return TextPair(title, *texts)


def _marked(text: str, character: int) -> MarkedText:
    begin = max(0, character - MOST_BEFORE)
    before = ("…" if begin else "") + text[begin:character]
    return MarkedText(before, text[character : character + 1] or END, text[character + 1 :])
