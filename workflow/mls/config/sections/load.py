"""The config's `load`: when requests are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from mls.config.sections.base import Section, refuse_keys_of_other_kinds
from mls.config.sections.workload import NO_PAUSE, Duration, Durations, Workload

if TYPE_CHECKING:
    from mls.config.sections.run import Run

_NEEDS: dict[str, tuple[str, ...]] = {
    "closed": (),
    "constant": ("rate",),
    "poisson": ("rate",),
    "gamma": ("rate",),
    "burst": ("burst", "every_s"),
    "stages": ("stages",),
    "trace": ("file",),
}
_MAY_HAVE: dict[str, tuple[str, ...]] = {
    "closed": ("think_s",),
    "constant": (),
    "poisson": (),
    "gamma": ("burstiness",),
    "burst": (),
    "stages": (),
    "trace": ("columns", "time_unit", "speed"),
}
_ALWAYS = {"kind", "duration_s", "rate_to", "max_inflight", "drain_s"}


class Arrivals(Section):
    """What determines an arrival process."""

    rate: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Requests per second, over all ranks (`constant`, `poisson`, `gamma`).",
    )
    burstiness: float = Field(
        1,
        gt=0,
        allow_inf_nan=False,
        description="`gamma`: shape of the gamma distribution of the gaps. 1 is Poisson, below it "
        "requests come in bunches, above it more evenly.",
    )
    burst: int | None = Field(None, ge=1, description="`burst`: requests sent at once.")
    every_s: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="`burst`: seconds from one burst to the next."
    )


class Stage(Arrivals):
    """One stretch of a load of stages."""

    kind: Literal["constant", "poisson", "gamma", "burst"] = Field(
        description="The arrival process."
    )
    duration_s: float = Field(gt=0, allow_inf_nan=False, description="How long it lasts.")
    rate_to: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="A ramp: the rate changes evenly from `rate` to this.",
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Stage:
        refuse_strangers(self, self.kind)
        if keys := missing_keys(self, self.kind):
            raise ValueError(f"kind {self.kind} needs {keys[0]}")
        if self.rate_to and self.kind == "burst":
            raise ValueError("rate_to goes with kind constant, poisson or gamma, not with burst")
        return self


class Load(Arrivals):
    """When requests are sent. Default: a closed loop.

    In an open loop (all kinds but `closed`) the arrivals are fixed beforehand from the seed and
    don't wait for replies; `run.inflight` is the number of connections opened ahead, more are
    opened as they are needed.
    """

    kind: Literal["closed", "constant", "poisson", "gamma", "burst", "stages", "trace"] = Field(
        "closed",
        description="`closed`: each of `run.inflight` places sends its next request when its reply "
        "is complete. Open loops: arrivals at equal distances (`constant`), at random (`poisson`, "
        "`gamma`), `burst` requests at once every `every_s`, `stages` one after another, or the "
        "times of a `trace`.",
    )
    think_s: Duration = Field(
        NO_PAUSE,
        description="`closed`: pause of a place between a reply and its next request, in the forms of "
        "`workload.think_s`. Default: none.",
    )
    stages: list[Stage] = Field(
        [],
        description="`stages`: list of `kind`, `duration_s` and the keys of that kind; "
        "`rate_to` makes it a ramp.",
    )
    file: str | None = Field(
        None,
        min_length=1,
        description="`trace`: CSV, JSON Lines, JSON or Parquet, one row a request.",
    )
    columns: dict[Literal["time", "prompt_tokens", "output_tokens"], str] = Field(
        {},
        description="`trace`: names of its columns where they are not `time`, `prompt_tokens` and "
        "`output_tokens`. The lengths are used where the workload says `trace`. Traces of Azure, "
        "BurstGPT, Mooncake and Bailian are recognized by theirs.",
    )
    time_unit: Literal["s", "ms", "us", "ns"] | None = Field(
        None,
        description="`trace`: unit of its times, which count from the first row. ISO 8601 dates "
        "are read as such. Default: `s`; of Mooncake's `ms`.",
    )
    speed: float = Field(
        1,
        gt=0,
        allow_inf_nan=False,
        description="`trace`: 2 replays it in half the time.",
    )
    max_inflight: int | None = Field(
        None,
        ge=1,
        description="Open loop: at most this many requests outstanding, over all ranks. Arrivals "
        "beyond it start late, and are counted so.",
    )
    drain_s: float = Field(
        60,
        ge=0,
        allow_inf_nan=False,
        description="Open loop: how long after the last arrival replies are waited for; what is "
        "not complete then failed (`unfinished`).",
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Load:
        refuse_strangers(self, self.kind)
        drain_s = type(self).model_fields["drain_s"].default
        if self.kind == "closed" and (self.max_inflight or self.drain_s != drain_s):
            raise ValueError("max_inflight and drain_s go with an open loop, not with kind closed")
        return self

    @property
    def open(self) -> bool:
        """Whether arrivals don't wait for replies."""
        return self.kind != "closed"

    @property
    def changing(self) -> bool:
        """Whether the rate of arrivals is meant to change during the run."""
        return self.kind in ("stages", "trace")

    def requests(self, run: Run) -> int | None:
        """Requests (conversations) to send; None when time, the stages or the trace end the run."""
        if self.kind == "stages" or (self.kind == "trace" and run.iters is None):
            return None
        return run.requests

    @property
    def missing_keys(self) -> list[str]:
        """Keys that its kind needs and that are not set (an axis of the sweep may set them)."""
        return missing_keys(self, self.kind)


def think_time(load: Load, workload: Workload) -> Durations:
    """The pause of a place between a reply and its next request."""
    return workload.think_s if load.think_s.never else load.think_s


def recorded(load: Any) -> Any:
    """The load of a record as today's config has it: earlier versions wrote a unit for every kind."""
    is_object = isinstance(load, dict)
    if is_object and load.get("kind") != "trace" and load.get("time_unit") == "s":
        return load | {"time_unit": None}
    return load


def missing_keys(section: Arrivals, kind: str) -> list[str]:
    """Keys that arrivals of a kind need and that the section leaves out."""
    return [key for key in _NEEDS[kind] if not getattr(section, key)]


def refuse_strangers(section: Arrivals, kind: str) -> None:
    """Raise `ValueError` for a key that was set and has no meaning for arrivals of this kind."""
    refuse_keys_of_other_kinds(
        section, kind, {each: (*_NEEDS[each], *_MAY_HAVE[each]) for each in _NEEDS}, _ALWAYS
    )
