"""The text of each job, which depends on seed and job number alone, not on the rank."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mls.config.sections.workload import Category
from mls.load.workload.text.passages import Passages
from mls.load.workload.text.tasks import KINDS, Kind, Tail

CANARY_JOBS = 1 << 47
"""The first job of the canaries' own: no load has as many, so none has the same prompt."""

_PARTS = 16
_CANARIES, _WARM_UP = 0, 8
"""Of each `_PARTS` starts, one is for canaries and one for the warm-up."""

_MOST_TRIES = 64


@dataclass(frozen=True)
class Texts:
    """What the prompts of a run are cut out of.

    facts: of the corpus, for the record. exact: whether the server's tokenizer gave the tokens.
    """

    facts: dict[str, str]
    exact: bool
    passages: dict[Kind, Passages]
    tails: dict[tuple[Category, Kind], tuple[Tail, ...]]

    def limits(self, categories: Sequence[Category]) -> tuple[int, int]:
        """(least, most): tokens of prompts that can be had in each of these categories."""
        pairs = [(category, kind) for category in categories for kind in KINDS[category]]
        longest = [max(tail.tokens for tail in self.tails[pair]) for pair in pairs]
        least = [self.passages[kind].least_tokens for _, kind in pairs]
        return (
            max(tail + words for tail, words in zip(longest, least, strict=True)),
            min(self.passages[kind].most_tokens for _, kind in pairs),
        )


class TextDraw:
    """Job → (category, text). Of each `len(categories)` jobs in a row, each category has one."""

    def __init__(
        self, texts: Texts, categories: Sequence[Category], seed: int, tokens: Callable[[int], int]
    ) -> None:
        """tokens: job → length of its prompt."""
        self._load = _Series(texts, categories, seed, None, tokens)
        self._warm_up = _Series(texts, categories, seed, _WARM_UP, lambda n: tokens(-1 - n))
        self._canaries = _Series(
            texts, categories, seed, _CANARIES, lambda n: tokens(CANARY_JOBS + n)
        )

    def __call__(self, job: int) -> tuple[Category, str]:
        if job < 0:
            return self._warm_up.text(-1 - job)
        if job >= CANARY_JOBS:
            return self._canaries.text(job - CANARY_JOBS)
        return self._load.text(job)


@dataclass(frozen=True, slots=True)
class _Draw:
    category: Category
    kind: Kind
    start: int
    end: int
    tail: str


class _Series:
    """The texts 0, 1, … of the load, the warm-up or the canaries, drawn one after another.

    Each start is drawn once before one is drawn again, those of sentences and functions first.
    """

    def __init__(
        self,
        texts: Texts,
        categories: Sequence[Category],
        seed: int,
        part: int | None,
        tokens: Callable[[int], int],
    ) -> None:
        """part: of the starts, `_CANARIES` or `_WARM_UP`; None for those of the load."""
        self._texts = texts
        self._categories = categories
        self._seed = f"{seed}/{part}"
        self._tokens = tokens
        self._draws: list[_Draw] = []
        self._order: list[Category] = []
        self._turn = dict.fromkeys(categories, 0)
        self._starts = {
            kind: _Starts(passages, seed, part) for kind, passages in texts.passages.items()
        }

    def text(self, number: int) -> tuple[Category, str]:
        while len(self._draws) <= number:
            self._draws.append(self._draw(len(self._draws)))
        draw = self._draws[number]
        return draw.category, self._texts.passages[draw.kind].cut(draw.start, draw.end) + draw.tail

    def _draw(self, number: int) -> _Draw:
        place = number % len(self._categories)
        if place == 0:
            source = random.Random(f"{self._seed}/{number}/category")
            self._order = sorted(self._categories, key=lambda _: source.random())
        category = self._order[place]
        turn = self._turn[category]
        self._turn[category] += 1
        kinds = KINDS[category]
        kind = kinds[turn % len(kinds)]
        tails = self._texts.tails[category, kind]
        tail = tails[turn // len(kinds) % len(tails)]
        start, end = self._starts[kind].draw(self._tokens(number) - tail.tokens)
        return _Draw(category, kind, start, end, tail.text)


class _Starts:
    """The starts of a text that are left to draw, in an order by seed."""

    def __init__(self, passages: Passages, seed: int, part: int | None) -> None:
        numbers = np.arange(len(passages.starts))
        parts = numbers % _PARTS
        own = ~np.isin(parts, (_CANARIES, _WARM_UP)) if part is None else parts == part
        shuffle = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed])))
        order = shuffle.permutation(numbers[own])
        natural = passages.natural[order]
        self._passages = passages
        self._natural = deque(order[natural].tolist())
        self._left = deque(order[~natural].tolist())
        self._drawn: list[int] = []

    def draw(self, tokens: int) -> tuple[int, int]:
        """(start, end) of a passage of so many tokens; of some more where none has just these."""
        passage = self._exact(tokens)
        if passage is None:
            self._again()
            passage = self._exact(tokens) or self._near(tokens)
        self._drawn.append(passage[0])
        return passage

    def _exact(self, tokens: int) -> tuple[int, int] | None:
        """One of the starts that are next; those that have no such passage are put to the end."""
        for _ in range(_MOST_TRIES):
            if not self._natural and not self._left:
                return None
            start = self._natural.popleft() if self._natural else self._left.popleft()
            end = self._passages.end(start, tokens)
            if end is not None:
                return start, end
            self._left.append(start)
        return None

    def _again(self) -> None:
        self._left.extendleft(reversed(self._drawn))
        self._drawn = []

    def _near(self, tokens: int) -> tuple[int, int]:
        for place, start in enumerate(self._left):
            end = self._passages.end(start, tokens, near=True)
            if end is not None:
                del self._left[place]
                return start, end
        raise ValueError(f"no passage has {tokens} tokens")
