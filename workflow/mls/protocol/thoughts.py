"""Reasoning in a reply's chunks: as the server marks it, and by tags in the text."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence, Set
from itertools import accumulate, islice

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_FIRST = re.compile(r".*?(?:</think>|\Z)", re.DOTALL)
_SAYS = re.compile(r"\S")


def without_thoughts(text: str, opened: bool) -> str:
    """The text without its thoughts and their tags. opened: whether it begins in a thought."""
    return "".join(text[begin:end] for begin, end in _between(_spans(text, opened), len(text)))


def first_answer(texts: Sequence[str], reasoning: dict[int, int]) -> int | None:
    """Index of the first chunk with an answer: text, or a tool call, that is no reasoning.

    texts: of the chunks. reasoning: index of a chunk → characters at its beginning that are. In a
    reply with reasoning blanks are no answer: models write some between a thought and the answer.
    """
    for i, text in enumerate(texts):
        length = reasoning.get(i, 0)
        if length != len(text) and (not reasoning or _SAYS.search(text, length)):
            return i
    return None


def mark_thoughts(
    texts: Sequence[str], reasoning: dict[int, int], calls: Set[int], opened: bool
) -> tuple[dict[int, int], int | None]:
    """`reasoning` with the thoughts in the text and their tags, and the first chunk of the answer.

    texts, reasoning: see `first_answer`. calls: chunks of tool calls, whose text has no tags.
    opened: see `without_thoughts`.
    """
    if reasoning or calls:
        contents = [i for i in range(len(texts)) if i not in calls]
        rests = [texts[i][reasoning.get(i, 0) :] for i in contents]
    else:
        contents, rests = [*range(len(texts))], [*texts]
    whole = "".join(rests)
    spans = _spans(whole, opened)
    if not spans:
        return reasoning, first_answer(texts, reasoning)
    lengths = [*map(len, rests)]
    begins = [*accumulate(lengths, initial=0)]
    characters: dict[int, int] = {}
    for begin, end in spans:
        first, last = bisect_right(begins, begin) - 1, bisect_left(begins, end) - 1
        characters.update(zip(contents[first + 1 : last], lengths[first + 1 : last], strict=True))
        for at in {first, last}:
            within = min(begins[at + 1], end) - max(begins[at], begin)
            characters[contents[at]] = characters.get(contents[at], 0) + within
    for i, length in reasoning.items():
        characters[i] = characters.get(i, 0) + length
    says = (_SAYS.search(whole, *gap) for gap in _between(spans, len(whole)))
    places = (match.start() for match in says if match)
    answers = (contents[bisect_right(begins, place) - 1] for place in places)
    return characters, min((*calls, *islice(answers, 1)), default=None)


def _between(spans: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Begin and end of what lies before, between and after the spans of a text of this length."""
    edges = [0, *(edge for span in spans for edge in span), length]
    return [*zip(edges[::2], edges[1::2], strict=True)]


def _spans(text: str, opened: bool) -> list[tuple[int, int]]:
    """Begin and end of each thought, tags included. One without an end reaches to the text's."""
    first = _FIRST.match(text) if opened and text else None
    place = first.end() if first else 0
    return [(0, place)] * bool(first) + [one.span() for one in _THOUGHT.finditer(text, place)]
