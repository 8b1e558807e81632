"""Was the server the same from the beginning of the window to its end?

Both checks test batches of requests, since neighbouring requests of a closed loop are alike. An
effect fails or warns when it exceeds the threshold and is unlikely by chance. It passes when it is
within the threshold and one of twice that size would have shown. Otherwise it is unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mls.analysis.checks.student import quantile
from mls.analysis.checks.trend import kendall_p, sen_slope
from mls.analysis.repeat.batches import Batches, batches_of
from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.evidence import Evidence, excess, verdict
from mls.analysis.sample_size import longer
from mls.core.run_result import Verdict

ALPHA = 0.02
"""Probability of a false alarm of a test if batches are independent."""

MISS = 0.02
"""Probability that an effect lies outside each bound if batches are independent. Neighbours are a
little alike, so the probability is about 5 % (benchmarks/power.py)."""

LEAST_BATCHES = 5
"""The least number of batches. With 4, no order of them is unlikely enough: 2/4! > ALPHA."""

ENOUGH_BATCHES = 8
"""The number of batches that the advice aims at when there are fewer than the least."""

HEAD = 4
"""The first of this many parts of the window is compared with the rest."""


@dataclass(frozen=True)
class Effect:
    """A change of the latency as a fraction of it, with the least and the greatest that it may be.

    Each bound is wrong with probability `MISS`.
    """

    value: float
    low: float
    high: float
    likely: bool
    """Whether chance is an unlikely explanation, see `ALPHA`."""

    def excludes(self, size: float) -> bool:
        """Whether an effect of this size, in either direction, would have shown."""
        return self.high < size and self.low > -size

    @property
    def doubt(self) -> float:
        """Half the distance between the bounds."""
        return (self.high - self.low) / 2


def window_alike(evidence: Evidence) -> list[Verdict]:
    """The verdicts `steady` and `warmed_up`; none where the load is meant to change."""
    if evidence.load.changing:
        return []
    batches = batches_of(evidence)
    drift, warmup = evidence.checks.drift, evidence.checks.warmup_effect
    if len(batches.bounds) < LEAST_BATCHES:
        return [
            _too_few("steady", drift, batches, evidence),
            _too_few("warmed_up", warmup, batches, evidence),
        ]
    return [_steady(batches, drift, evidence), _warmed_up(batches, warmup, evidence)]


def _steady(batches: Batches, threshold: float, evidence: Evidence) -> Verdict:
    trend = _trend(batches.at, batches.level)
    direction = "rise" if trend.value > 0 else "fall"
    if trend.likely and abs(trend.value) > threshold:
        message = (
            f"Latency {'rose' if trend.value > 0 else 'fell'} by {abs(trend.value):.0%} over the "
            "window: its figures are of a server, or a host, that was changing. Find out what "
            f"changed, or {_more(batches, trend, threshold, evidence)}."
        )
        status = excess(abs(trend.value), threshold)
        return verdict("steady", status, trend.value, threshold, message)
    if abs(trend.value) > threshold or not trend.excludes(2 * threshold):
        message = (
            f"A {direction} of the latency by {abs(trend.value):.0%} over the window was seen, and "
            f"{len(batches.bounds)} batches of requests can't tell whether that is chance, or whether it "
            f"is less than {2 * threshold:.0%}: {_more(batches, trend, threshold, evidence)}."
        )
        return verdict("steady", "unknown", trend.value, threshold, message)
    message = (
        f"Latency changed by {trend.value:+.1%} over the window, less than {threshold:.0%}."
        if trend.likely
        else f"No trend in the latency of {batches.requests} requests of the window: one of "
        f"{2 * threshold:.0%} would have shown."
    )
    return verdict("steady", "pass", trend.value, threshold, message)


def _trend(at: Floats, level: Floats) -> Effect:
    """Change of the batches' latency over the window, by Mann and Kendall's test.

    The slope is Theil and Sen's. Its bounds are Sen's (JASA 63, 1968), by the same test.
    """
    span = float((at[-1] - at[0]) / np.median(level))
    likely = kendall_p(level) < ALPHA  # nan, when all are equal, is not
    value, low, high = (slope * span for slope in sen_slope(at, level, MISS))
    return Effect(value, low, high, likely)


def _warmed_up(batches: Batches, threshold: float, evidence: Evidence) -> Verdict:
    first = max(1, len(batches.bounds) // HEAD)
    head = _head(batches.level, first)
    count = batches.bounds[first].start - batches.bounds[0].start
    others = batches.requests - count
    if head.likely and head.value > threshold:
        message = (
            f"The first {count} requests of the window took {head.value:.0%} longer than the "
            f"others: {_warm(evidence)}."
        )
        return verdict("warmed_up", excess(head.value, threshold), head.value, threshold, message)
    if head.value > threshold or head.high >= 2 * threshold:
        longer_by = f"{head.value:.0%} longer than" if head.value > 0 else "no longer than"
        message = (
            f"The first {count} requests of the window took {longer_by} the other {others}, which "
            f"may be chance; they may have taken {head.high:.0%} longer: "
            f"{_more(batches, head, threshold, evidence)}."
        )
        return verdict("warmed_up", "unknown", head.value, threshold, message)
    message = (
        f"The first {count} requests of the window took no longer than the other {others}"
        if head.value <= 0
        else f"The first {count} requests of the window took {head.value:.1%} longer than the other "
        f"{others}, less than {threshold:.0%}"
    )
    text = f"{message}; {2 * threshold:.0%} would have shown."
    return verdict("warmed_up", "pass", head.value, threshold, text)


def _head(level: Floats, first: int) -> Effect:
    """The first batches against the others, by Student's test and bounds on logarithms."""
    early, late = np.log(level[:first]), np.log(level[first:])
    apart = float(early.mean() - late.mean())
    freedom = len(level) - 2
    rest = ((early - early.mean()) ** 2).sum() + ((late - late.mean()) ** 2).sum()
    error = float(np.sqrt(rest / freedom * (1 / len(early) + 1 / len(late))))
    reach = quantile(1 - MISS, freedom) * error
    # as strict in its direction as `steady` is in each of its two
    likely = apart > quantile(1 - ALPHA / 2, freedom) * error
    value, low, high = (float(np.expm1(one)) for one in (apart, apart - reach, apart + reach))
    return Effect(value, low, high, likely)


_SHARED = ("shared_prefix", "blocks", "conversation")
"""Kinds whose prompts begin with what an earlier one put into the cache."""


def _warm(evidence: Evidence) -> str:
    """Advice against a cold start."""
    if evidence.run.cache_prompt and evidence.workload.kind in _SHARED:
        return (
            "what they put into the server's cache was not there yet, and a warm-up's prompts are "
            "others; measure longer (run.rounds, run.iters or run.duration_s)"
        )
    return "warm up with more requests (run.warmup)"


def _more(batches: Batches, effect: Effect, threshold: float, evidence: Evidence) -> str:
    """Advice to measure until the doubt is as small as the effect that has to be told from none."""
    goal = max(threshold, abs(effect.value) / 2)
    factor = max(1.5, (effect.doubt / goal) ** 2)
    return longer(math.ceil(factor * len(evidence.table)), evidence)


def _too_few(check: str, threshold: float, batches: Batches, evidence: Evidence) -> Verdict:
    count = len(batches.bounds)
    if evidence.load.open or not count:
        enough = math.ceil(len(evidence.table) * ENOUGH_BATCHES / max(count, 1))
    else:  # the first round fills the places, and the last empties them
        enough = evidence.run.inflight * (ENOUGH_BATCHES + 2)
    message = (
        f"Requests that lie whole within the window begin at {count} moments, and {LEAST_BATCHES} "
        f"are needed to tell: {longer(enough, evidence)}."
    )
    return verdict(check, "unknown", None, threshold, message)
