"""Prompts of blocks: equal numbers are equal words, others differ from their beginning on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from mls.core.errors import UserError
from mls.load.workload.calibration import Calibration

_KEPT = 4096  # blocks that are kept as words, some 4 KiB each at 512 tokens


class BlockText:
    """The text of a prompt by the numbers of its blocks.

    The first words of a block are the digits of its number, least first, to the base of the
    vocabulary, as many as the greatest number has: so blocks whose numbers differ by less than
    that base differ at their first word, and all others within these digits.
    """

    def __init__(
        self, calibration: Calibration, block_tokens: int, seed: int, greatest: int
    ) -> None:
        self._calibration = calibration
        self._tokens = block_tokens
        self._seed = seed
        self._digits = _digits(greatest, len(calibration.words))
        self._block = lru_cache(_KEPT)(self._make)

    def __call__(self, numbers: Sequence[int], tokens: int) -> str:
        """A text that is `tokens` tokens in the prompt's template, cut at the last block's end.

        The template's own tokens are part of the first block, as they stand before its words.
        """
        overhead = self._calibration.overhead
        lengths = [self._tokens] * (len(numbers) - 1)
        lengths.append(tokens - sum(lengths))
        lengths[0] -= overhead
        return " ".join(
            word
            for number, length in zip(numbers, lengths, strict=True)
            for word in self._block(number)[: max(1, self._words(length))]
        )

    def _words(self, tokens: int) -> int:
        return round(tokens / self._calibration.per_word)

    def _make(self, number: int) -> tuple[str, ...]:
        words = self._calibration.words
        base = len(words)
        name = (words[number // base**place % base] for place in range(self._digits))
        source = random.Random(f"{self._seed}/{number}/block")
        return (*name, *source.choices(words, k=self._words(self._tokens)))


def _digits(greatest: int, base: int) -> int:
    digits = 1
    while greatest >= base**digits:
        digits += 1
    return digits


def check_blocks(
    file: str | None,
    rows: Sequence[int],
    blocks: Sequence[Sequence[int]] | None,
    lengths: Sequence[int],
    calibration: Calibration,
    block_tokens: int,
) -> None:
    """Raise `UserError` where a trace's blocks aren't those of its lengths.

    rows: number of each arrival's row in the file.
    """
    if blocks is None:
        raise UserError(
            f"workload.kind blocks: {file} has no column hash_ids, a list of ids for each request; "
            "use a trace that has one (Mooncake's), or kind synthetic."
        )
    greatest = max((number for numbers in blocks for number in numbers), default=0)
    least = calibration.overhead + _digits(greatest, len(calibration.words))
    if block_tokens < least:
        raise UserError(
            f"workload.block_tokens: expected at least {least}, not {block_tokens}: the chat template "
            f"has {calibration.overhead}, and a first block needs some of its own beside them."
        )
    for row, numbers, tokens in zip(rows, blocks, lengths, strict=True):
        if len(numbers) != (needs := -(-tokens // block_tokens)):
            raise UserError(
                f"load.file: row {row} of {file} has {len(numbers)} hash_ids for {tokens} tokens; "
                f"expected {needs} with blocks of {block_tokens}. Set workload.block_tokens to the "
                "size of the trace's blocks."
            )
