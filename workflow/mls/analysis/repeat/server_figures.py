"""The server's own figures of a run: the growth of its counters and histograms, and its course."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mls.analysis.repeat.hardware.series import Series
from mls.protocol.engines.profile import Figure, Profile
from mls.protocol.engines.registry import PROFILES, by_samples

Metrics = dict[str, float]

COURSES = ("running", "waiting", "kv_use", "preemptions")
"""Figures of a profile whose course during load is known from the telemetry."""


@dataclass(frozen=True)
class ServerFigures:
    """`/metrics` right before and right after a run's load, in the terms of the engine's profile.

    Both are empty where the server has none.
    """

    before: Metrics
    after: Metrics

    @property
    def profile(self) -> Profile:
        return by_samples(self.after)

    def growth(self, names: tuple[str, ...]) -> int | None:
        """How much a counter grew; None where the server has none of these names, or was restarted."""
        name = next((one for one in names if one in self.before and one in self.after), None)
        if name is None:
            return None
        grown = round(self.after[name] - self.before[name])
        return grown if grown >= 0 else None

    def gauge(self, names: tuple[str, ...]) -> float | None:
        """A gauge as it stood after the load; None where the server has none of these names."""
        return next((self.after[name] for name in names if name in self.after), None)

    @property
    def cache_block(self) -> int | None:
        """Tokens of a block by which its cache goes; None where it doesn't say it."""
        if self.profile.caches_tokens:
            return 1
        return round(self.gauge(self.profile.cache_blocks) or 0) or None

    def mean_ms(self, figure: Figure) -> tuple[float, int] | None:
        """(mean in ms, number of samples) of a histogram during the run; None where it has none."""
        histogram = self.profile.histograms.get(figure)
        if histogram is None:
            return None
        for name in histogram.names:
            total, count = f"{name}_sum", f"{name}_count"
            if count not in self.after:
                continue
            samples = round(self.after[count] - self.before.get(count, 0))
            if samples <= 0:
                return None
            spent = self.after[total] - self.before.get(total, 0)
            return spent * histogram.ms / samples, samples
        return None

    def means_ms(self, requests: int) -> dict[Figure, float]:
        """Figure → its mean in ms, of the histograms that are of so many requests and no others.

        ITL has a sample a token. It is of these requests if all other histograms are.
        """
        means = {
            figure: mean for figure in self.profile.histograms if (mean := self.mean_ms(figure))
        }
        tokens = means.pop("itl_ms", None)
        ours = {figure: mean for figure, (mean, samples) in means.items() if samples == requests}
        if tokens and ours and ours.keys() == means.keys():
            ours["itl_ms"] = tokens[0]
        return ours


def courses(telemetry: Mapping[tuple[str, str], Series]) -> dict[str, Series]:
    """Figure of `COURSES` → its samples, of those that the telemetry has.

    telemetry: (source, name) → series. Requests that run are llama.cpp's busy slots where it has no
    `/metrics`.
    """
    by_figure = {}
    for figure in COURSES:
        keys = [("metrics", name) for name in _names(figure)]
        if figure == "running":
            keys.append(("slots", "busy"))
        if key := next((key for key in keys if key in telemetry), None):
            by_figure[figure] = telemetry[key]
    return by_figure


def highest(course: Series | None, span_ns: tuple[int, int] | None) -> float | None:
    """The highest sample of a course during the load; None without any."""
    if course is None or span_ns is None:
        return None
    inside = course.between(*span_ns).value
    return float(inside.max()) if len(inside) else None


def _names(figure: str) -> list[str]:
    """What engines call a figure, without their prefixes, as the telemetry has it."""
    return [
        name.removeprefix(profile.prefix)
        for profile in PROFILES
        for name in getattr(profile, figure)
    ]
