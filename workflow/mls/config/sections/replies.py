"""Section on how replies are read, and judged beside the load."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mls.config.sections.base import Section

CANARIES = 4

ThinkTags = Literal["none", "both", "closing"]


class Replies(Section):
    """How replies are read, and held against what the same server says alone."""

    canaries: int = Field(
        CANARIES,
        ge=0,
        le=64,
        description="Canaries: fixed prompts, the same in all cells, that take the place of some requests of "
        "the load, greedy (`temperature: 0`), and are asked alone before it, twice. The check `replies_alike` "
        "compares their replies. 0: none.",
    )
    think_tags: ThinkTags = Field(
        "none",
        description="Tags around thoughts that the model writes into its text, where the server doesn't send "
        "them as reasoning. `both`: `<think>` and `</think>`; `closing`: the first thought ends with "
        "`</think>`, and the chat template has its `<think>` in the prompt.",
    )
