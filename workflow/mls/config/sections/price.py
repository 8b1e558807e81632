"""Section on what the server costs. It decides on no run: only tables and page have it."""

from __future__ import annotations

from pydantic import Field

from mls.config.sections.base import Section


class Price(Section):
    """What the server's time costs, such as `{per_hour: 2.5}`: the report then has the cost of tokens."""

    per_hour: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Price in $ of an hour of all that serves: of all cards and hosts of the server together, "
        "the same in every cell.",
    )
