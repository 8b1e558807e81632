"""Sections that let the results decide what is measured next: `precision` and `search`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mls.config.sections.base import Section
from mls.config.sections.types import count_or

DIGITS = 4
"""Significant digits of searched values that are not whole: they are part of paths."""

_MOST_REPEATS = 1000


Repeats = Annotated[
    Annotated[int, Field(ge=1, le=_MOST_REPEATS)] | Literal["auto"], count_or(_MOST_REPEATS, "auto")
]


class Precision(Section):
    """When a cell has enough repeats, with `repeats: auto`.

    With `search` as well, a probe gets more repeats until it is clear whether it meets the objectives.
    """

    width: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Enough when half the 95 % interval is at most this fraction of the value: "
        "0.05 is ± 5 %.",
    )
    metric: Literal[
        "throughput.completion_tokens_per_s",
        "throughput.requests_per_s",
        "latency_ms.mean",
        "latency_ms.p95",
        "ttft_ms.mean",
        "ttft_ms.p95",
        "tpot_ms.mean",
    ] = Field(
        "throughput.completion_tokens_per_s",
        description="The figure that the interval is of, as in `cells.csv`.",
    )
    min: int = Field(5, ge=2, le=_MOST_REPEATS, description="Repeats that every cell gets.")
    max: int = Field(20, ge=2, le=_MOST_REPEATS, description="The most repeats of a cell.")
    budget_s: float | None = Field(
        None,
        gt=0,
        description="Seconds of load (`wall_s`) that all repeats of a cell, or all probes of a "
        "search, may take together. Default: no limit.",
    )

    @model_validator(mode="after")
    def _min_first(self) -> Precision:
        if self.min > self.max:
            raise ValueError(f"expected min of at most max ({self.max}), not {self.min}")
        return self


class Search(Section):
    """Finds the largest load that meets `slo`: doubling from `low`, then bisection, each probe a cell.

    Without `slo`, `inflight` is searched for the knee of the throughput, and `rate` for the
    largest at which the server keeps up. There is one search for each combination of the other axes.
    """

    axis: Literal["inflight", "rate"] = Field(
        "inflight", description="What is searched: `run.inflight`, or `load.rate` of an open loop."
    )
    low: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="The least value, where it begins."
    )
    high: float = Field(
        64.0, gt=0, allow_inf_nan=False, description="The greatest value that it may try."
    )
    within: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Done when the value found and the next that was tried differ by at most this "
        "fraction; neighbouring values of inflight always will do.",
    )

    @model_validator(mode="after")
    def _bounds(self) -> Search:
        if self.axis == "inflight" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("low and high of inflight are whole numbers")
        for bound in (self.low, self.high):
            if not bound.is_integer() and float(f"{bound:.{DIGITS}g}") != bound:
                raise ValueError(f"low and high have at most {DIGITS} significant digits")
        if self.low >= self.high:
            raise ValueError(f"expected low below high ({self.high:g}), not {self.low:g}")
        return self
