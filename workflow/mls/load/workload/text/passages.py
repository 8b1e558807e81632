"""Where prompts may begin and end in a text, and how many tokens there are in between."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mls.load.workload.text.tasks import Kind

_WORD_END = re.compile(r"[A-Za-z\d](?![\w'])")
# not "_", which some tokenizers merge with line ends after it, as they do with all punctuation
_WORD = re.compile(r"\w+")
_NATURAL: dict[Kind, re.Pattern[str]] = {
    "prose": re.compile(r"(?:^|\n\n|(?<=[.?!]) )(?=[A-Z])"),
    "code": re.compile(r"(?:^|\n\n\n)(?=def |async )"),
}
_FURTHER: dict[Kind, re.Pattern[str]] = {
    "prose": re.compile(r" (?=\w)"),
    "code": re.compile(r"\n *(?=[a-z])"),
}
_NATURAL_WORDS, _FURTHER_WORDS = 100, 100
OPENING_CHARACTERS = 24


@dataclass(frozen=True)
class Passages:
    """A text, of which the part from a start to an end is a prompt of a known number of tokens.

    ends: characters up to the ends of words, ascending. tokens: of the text up to each. starts:
    characters before the first words of prompts, in the order of the text. natural: of each start,
    whether a sentence or a function begins there. offset: of each start, the tokens of a prompt
    that begins there, chat template included, less those of the text up to the prompt's end.
    """

    text: str
    ends: NDArray[np.int64]
    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]
    natural: NDArray[np.bool_]
    offset: NDArray[np.int64]

    def end(self, start: int, tokens: int, *, near: bool = False) -> int | None:
        """The end of a prompt of so many tokens; None where no word ends there.

        start: index of its start. near: take the next word's end, if there is one.
        """
        wanted = tokens - self.offset[start]
        place = int(np.searchsorted(self.tokens, wanted))
        if place == len(self.ends) or self.ends[place] <= self.starts[start]:
            return None
        return int(self.ends[place]) if near or self.tokens[place] == wanted else None

    def cut(self, start: int, end: int) -> str:
        """The text from a start, by its index, to an end in characters."""
        return self.text[self.starts[start] : end]

    @property
    def least_tokens(self) -> int:
        """The tokens of the longest prompt that is one word: no less can be had at each start."""
        first = np.searchsorted(self.ends, self.starts, side="right")
        return int((self.offset + self.tokens[first]).max())

    @property
    def most_tokens(self) -> int:
        """The longest prompt that at least half of the starts can have."""
        return int(np.median(self.offset + self.tokens[-1]))


@dataclass(frozen=True)
class Starts:
    """Places in a text at which a prompt may begin, no two of them alike in what comes first.

    at: characters before each. natural: see `Passages`. first: the first word of each. Of these
    there are few, as the server is asked for the tokens of each.
    """

    at: NDArray[np.int64]
    natural: NDArray[np.bool_]
    first: list[str]


def word_ends(text: str) -> NDArray[np.int64]:
    """The characters up to the end of each word."""
    return np.fromiter((match.end() for match in _WORD_END.finditer(text)), np.int64)


def find_starts(texts: Mapping[Kind, str]) -> dict[Kind, Starts]:
    """The starts of each text: beginnings of sentences or functions, and words or lines within."""
    openings: set[str] = set()
    return {kind: _starts(text, kind, openings) for kind, text in texts.items()}


def _starts(text: str, kind: Kind, openings: set[str]) -> Starts:
    """openings: of other texts, to which this one's are added."""
    natural = {match.end() for match in _NATURAL[kind].finditer(text)}
    further = {match.end() for match in _FURTHER[kind].finditer(text)} - natural
    first = {at: match[0] for at in natural | further if (match := _WORD.match(text, at))}
    usual = _most_common((first[at] for at in natural & first.keys()), _NATURAL_WORDS)
    usual |= _most_common((first[at] for at in further & first.keys()), _FURTHER_WORDS)
    places = []
    for at in [*sorted(natural), *sorted(further)]:
        opening = text[at : at + OPENING_CHARACTERS]
        if first.get(at) in usual and opening not in openings:
            openings.add(opening)
            places.append(at)
    places.sort()
    return Starts(
        np.array(places, np.int64),
        np.array([at in natural for at in places], np.bool_),
        [first[at] for at in places],
    )


def _most_common(words: Iterable[str], count: int) -> set[str]:
    return {word for word, _ in Counter(sorted(words)).most_common(count)}
