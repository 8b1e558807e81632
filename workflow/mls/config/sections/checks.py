"""Sections that judge what was measured: thresholds of the verdicts, objectives."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mls.config.sections.base import Section
from mls.config.sections.types import Share


class Checks(Section):
    """Thresholds of the verdicts."""

    inflight_tolerance: float = Field(
        0.02, gt=0, lt=1, description="Achieved inflight may be this fraction below what was asked."
    )
    client_lateness: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="How long a free place may wait for its next request, as a fraction of the mean latency.",
    )
    client_cpu_fraction: float = Field(
        0.8, gt=0, le=1, description="Busiest rank's share of one core."
    )
    queue_growth: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Open loop: the server may fall behind by this share of what arrives.",
    )
    error_rate: Share = Field(0.01, description="Share of requests that may fail.")
    unsound_replies: Share = Field(
        0.01,
        description="Share of replies that may be empty, garbled, or not of the form (JSON, tool calls) that "
        "was asked for.",
    )
    looping_replies: Share = Field(
        0.4,
        description="Share of replies that may be a loop for most of their text.",
    )
    echoing_replies: Share = Field(
        0.4,
        description="Share of replies that may hold the beginning of their prompt.",
    )
    same_replies: Share = Field(
        0.05,
        description="Share of replies that may have the text of a reply to another prompt.",
    )
    short_replies: Share = Field(
        0.5,
        description="Share of replies that may end by themselves after one token.",
    )
    unanswered_replies: Share = Field(
        0.01,
        description="Share of replies that may think and end without an answer; the check fails at ten times that.",
    )
    depth_missing: Share = Field(
        0.05,
        description="Share of `workload.depth` that may be missing in the cache: caches of blocks end with a whole one.",
    )
    unlike_replies: Share = Field(
        0.25,
        description="Share of the canaries' replies under load that may differ from the reply to the same "
        "canary alone at once, within four tokens.",
    )
    diverging_tokens: Share = Field(
        0.05,
        description="First differences of canaries' replies under load from those alone, for each token that "
        "was compared.",
    )
    generation_after_hang_up: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="Share of the rest of its reply that a server may generate for a request that the client hung up on.",
    )
    cache_shortfall: Share = Field(
        0.02,
        description="Share of the prompt tokens that the server may process although they are due of an ideal cache.",
    )
    server_time_excess: float = Field(
        0.001,
        ge=0,
        lt=1,
        description="How much longer than its latency a request may have taken by the server's own clock, "
        "as a fraction of the latency.",
    )
    outside_server: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="Share of the mean TTFT that may pass outside the server's own clock, where its histograms tell.",
    )
    clock_uncertainty: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="How exactly the clocks of several hosts must be known, as a fraction of the median TTFT.",
    )
    drift: float = Field(
        0.1,
        gt=0,
        description="How much the latency may change from the beginning to the end of the window, as a fraction of its median.",
    )
    warmup_effect: float = Field(
        0.1,
        gt=0,
        description="How much slower the first requests of the window may be than the others, as a fraction.",
    )
    percentile: Literal[50, 90, 95, 99] = Field(
        95,
        description="The highest percentile that a cell's requests (of all repeats) must be enough for.",
    )
    other_cpu: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of the host's CPU time that others may use while a repeat is measured.",
    )
    steal: Share = Field(
        0.02,
        description="Share of the host's CPU time that a hypervisor may take away.",
    )
    card_clock: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Median SM clock of a card, as a share of the highest that it has, when it names no reason to slow it.",
    )
    server_spread: float = Field(
        0.1,
        gt=0,
        description="How far the mean latencies of several servers may be apart, as a fraction of their mean.",
    )
    repeat_spread: float = Field(
        0.1,
        gt=0,
        description="Standard deviation between the repeats' mean latencies, as a fraction of their mean.",
    )
    apart_s: float = Field(
        300,
        gt=0,
        description="How long nothing may have been measured between cells that are compared, in s, beyond "
        "the length of the longer of the repeats beside that pause (`server.startup_timeout_s`, where "
        "that is more).",
    )
    ranks_effect: float = Field(
        0.05,
        gt=0,
        description="How much throughput or TTFT may change with `ranks` at one inflight, as a fraction.",
    )


Ms = Annotated[float, Field(gt=0)]


class Limits(Section):
    """Upper limits in ms of percentiles."""

    p50: Ms | None = None
    p90: Ms | None = None
    p95: Ms | None = None
    p99: Ms | None = None

    @model_validator(mode="after")
    def _some(self) -> Limits:
        if not self.by_percentile:
            raise ValueError("expected at least one of p50, p90, p95 and p99")
        return self

    @property
    def by_percentile(self) -> dict[str, float]:
        """Percentile, such as `p95` → its limit in ms."""
        return {name: limit for name, limit in self if limit is not None}


class Slo(Section):
    """Service level objectives: limits of percentiles, such as `ttft_ms: {p95: 500}`.

    A cell meets them when each percentile is within its limit; a request is good when its own
    figures are within the largest limit of each.
    """

    ttft_ms: Limits | None = Field(None, description="Of the time to first token.")
    ttfa_ms: Limits | None = Field(
        None,
        description="Of the time to first answer token, which is neither reasoning nor a blank after it. "
        "A request whose reply has none is not good.",
    )
    tpot_ms: Limits | None = Field(None, description="Of the time per output token.")
    latency_ms: Limits | None = Field(None, description="Of the latency.")
    latency_from_scheduled_ms: Limits | None = Field(
        None, description="Of the latency from the moment at which the request was due."
    )

    @property
    def limits(self) -> dict[str, Limits]:
        """Limits by name of the distribution; empty when there are no objectives."""
        return {name: limits for name, limits in self if limits is not None}
