"""The prompt tokens that an ideal cache has of each request of a trace of blocks."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

Key = tuple[int, int]
"""A block behind others: (key number of the block before it, its own number)."""


@dataclass(slots=True)
class _Block:
    """A block behind others. number: of this beginning of prompts. tokens: its longest part."""

    number: int
    tokens: int


class IdealCache:
    """A cache of prompts' beginnings that all requests share, whichever server or slot they are on.

    It has all that was sent before. With a capacity the least recently used blocks leave it, of one
    prompt the last ones first.
    """

    def __init__(self, block_tokens: int, capacity: int | None = None) -> None:
        """capacity: in tokens; None keeps all."""
        self._block_tokens = block_tokens
        self._capacity = capacity
        self._held = 0
        self._numbers = itertools.count(1)
        # least recently used first, each block before the one that it follows
        self._blocks: OrderedDict[Key, _Block] = OrderedDict()

    def __call__(self, numbers: Sequence[int], tokens: int) -> int:
        """The tokens at a prompt's beginning that it has; afterwards it has the prompt.

        The last token of a prompt is never among them, as it makes the first token of the reply.
        """
        hit = before = 0
        path = []
        for at, number in enumerate(numbers):
            size = min(self._block_tokens, tokens - at * self._block_tokens)
            key = before, number
            block = self._blocks.get(key)
            if block is None:
                block = self._blocks[key] = _Block(next(self._numbers), 0)
            # no block is behind one that is known in part, so what follows is new
            hit += min(size, block.tokens)
            self._held += max(0, size - block.tokens)
            block.tokens = max(size, block.tokens)
            before = block.number
            path.append(key)
        for key in reversed(path):
            self._blocks.move_to_end(key)
        while self._capacity is not None and self._held > self._capacity:
            self._held -= self._blocks.popitem(last=False)[1].tokens
        return min(hit, tokens - 1)


class IdealHits:
    """The prompt tokens of each job that an ideal cache has, if jobs are sent in their order.

    Jobs beyond the trace's rows are its rows again.
    """

    def __init__(
        self,
        blocks: Sequence[Sequence[int]],
        prompt_tokens: Sequence[int],
        block_tokens: int,
        capacity: int | None = None,
    ) -> None:
        """blocks, prompt_tokens: of each row of the trace. capacity: of the cache."""
        self._rows = list(zip(blocks, prompt_tokens, strict=True))
        self._cache = IdealCache(block_tokens, capacity)
        self._hits: list[int] = []

    def __call__(self, job: int) -> int:
        while len(self._hits) <= job:
            self._hits.append(self._cache(*self._rows[len(self._hits) % len(self._rows)]))
        return self._hits[job]
