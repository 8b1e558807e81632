"""Section on how replies are judged beside the load."""

from __future__ import annotations

from pydantic import Field

from mls.config.sections.base import Section

CANARIES = 4


class Replies(Section):
    """How replies are held against what the same server says alone."""

    canaries: int = Field(
        CANARIES,
        ge=0,
        le=64,
        description="Canaries: fixed prompts, the same in all cells, that take the place of some requests of "
        "the load, greedy (`temperature: 0`), and are asked alone before it, twice. The check `replies_alike` "
        "compares their replies. 0: none.",
    )
