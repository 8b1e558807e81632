"""The tokens of a text of built-in words, for the server under test."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from mls.core.errors import UserError


class Calibration(BaseModel):
    """The tokens of a text of built-in words: `overhead` + `per_word` × words.

    exact: whether the server's tokenizer gave them, one token a word; else `usage` is the estimate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: tuple[str, ...]
    overhead: int
    per_word: float
    exact: bool

    def text(self, source: random.Random, tokens: int) -> str:
        """Random words that are `tokens` tokens in all."""
        count = max(1, round(tokens / self.per_word))
        return " ".join(source.choices(self.words, k=count))


def least_tokens(calibration: Calibration, lengths: Sequence[int]) -> None:
    """Raise `UserError` when one of the lengths is no longer than the overhead around any text."""
    if lengths and min(lengths) <= calibration.overhead:
        raise UserError(
            f"workload.prompt_tokens: {min(lengths)} tokens can't be had: the chat template alone has "
            f"{calibration.overhead}; ask for more, set workload.system to '' where the template "
            "has a system message of its own, or use /v1/completions."
        )
