"""Lengths and numbers of prompts that a text doesn't have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.text.passages import OPENING_CHARACTERS
from mls.load.workload.text.texts import Texts


def check_lengths(texts: Texts, workload: Workload, lengths: Sequence[int]) -> None:
    """Raise `UserError` for a length that prompts of these categories can't have."""
    least, most = texts.limits(workload.categories)
    if lengths and min(lengths) < least:
        raise UserError(
            f"workload.prompt_tokens: {min(lengths)} tokens can't be had: with the chat template, "
            f"what is asked and a first word a prompt has up to {least}; ask for at least that."
        )
    if lengths and max(lengths) > most:
        raise UserError(
            f"workload.prompt_tokens: {max(lengths)} tokens can't be had: Python's documentation and "
            f"sources have enough text for {most}; ask for at most that, or take a dataset of your own."
        )


def repetition(prompts: Iterable[str]) -> tuple[str, ...]:
    """A sentence for the user where prompts begin as an earlier one does."""
    openings = [text[:OPENING_CHARACTERS] for text in prompts]
    again = len(openings) - len(set(openings))
    if not again:
        return ()
    return (
        f"workload: {again} of the first {len(openings)} prompts begin as an earlier one does, since "
        "Python's documentation and sources have no more beginnings: a cache may know them.",
    )
