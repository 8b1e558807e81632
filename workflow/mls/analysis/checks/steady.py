"""Was the server the same from the beginning of the window to its end?

Both tests are of batches of requests: neighbouring requests of a closed loop are alike. An effect
is wrong when it is large and unlikely by chance; it is right when it is small and one of twice the
size allowed would have shown. What is neither can't be told with these requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mls.analysis.repeat.batches import Batches, batches_of
from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.evidence import Evidence, excess, verdict
from mls.analysis.sample_size import longer
from mls.core.run_result import Verdict

ALPHA = 0.02
"""Chance of a false alarm that a test may have, were batches independent."""

MISS = 0.02
"""Chance of missing an effect that the bounds may have, were batches independent. Neighbours are a
little alike, so that it comes to some 5 % (benchmarks/power.py)."""

LEAST_BATCHES = 5
"""With fewer no order of them is unlikely enough: 2/4! > ALPHA."""

ENOUGH_BATCHES = 8
"""What is advised where there are fewer than the least."""

HEAD = 4
"""The first of so many parts of the window is compared with the rest."""


@dataclass(frozen=True)
class Effect:
    """A change of the latency, as a fraction of it, with the least and the greatest it may be.

    Each bound is wrong with the chance `MISS`.
    """

    value: float
    low: float
    high: float
    likely: bool
    """Whether it is more than chance explains."""

    def excludes(self, size: float) -> bool:
        """Whether an effect of this size, in either direction, would have shown."""
        return self.high < size and self.low > -size

    @property
    def doubt(self) -> float:
        """Half the distance of the bounds."""
        return (self.high - self.low) / 2


def window_alike(evidence: Evidence) -> list[Verdict]:
    """Both verdicts; none where the load is meant to change, and latency with it."""
    if evidence.load.changing:
        return []
    cut = batches_of(evidence)
    drift, warmup = evidence.checks.drift, evidence.checks.warmup_effect
    if len(cut.bounds) < LEAST_BATCHES:
        return [
            _too_few("steady", drift, cut, evidence),
            _too_few("warmed_up", warmup, cut, evidence),
        ]
    return [_steady(cut, drift, evidence), _warmed_up(cut, warmup, evidence)]


def _steady(cut: Batches, allowed: float, evidence: Evidence) -> Verdict:
    trend = _trend(cut.at, cut.level)
    went = "rise" if trend.value > 0 else "fall"
    if trend.likely and abs(trend.value) > allowed:
        message = (
            f"Latency {'rose' if trend.value > 0 else 'fell'} by {abs(trend.value):.0%} over the "
            "window: its figures are of a server, or a host, that was changing. Find out what "
            f"changed, or {_more(cut, trend, allowed, evidence)}."
        )
        status = excess(abs(trend.value), allowed)
        return verdict("steady", status, trend.value, allowed, message)
    if abs(trend.value) > allowed or not trend.excludes(2 * allowed):
        message = (
            f"A {went} of the latency by {abs(trend.value):.0%} over the window was seen, and "
            f"{len(cut.bounds)} batches of requests can't tell whether that is chance, or whether it "
            f"is less than {2 * allowed:.0%}: {_more(cut, trend, allowed, evidence)}."
        )
        return verdict("steady", "unknown", trend.value, allowed, message)
    message = (
        f"Latency changed by {trend.value:+.1%} over the window, less than {allowed:.0%}."
        if trend.likely
        else f"No trend in the latency of {cut.requests} requests of the window: one of "
        f"{2 * allowed:.0%} would have shown."
    )
    return verdict("steady", "pass", trend.value, allowed, message)


def _trend(at: Floats, level: Floats) -> Effect:
    """Change of the batches' latency over the window: Mann and Kendall's test, Theil and Sen's slope.

    The slope's bounds are Sen's (JASA 63, 1968), by the same test.
    """
    # loaded when a run's load is over: until then rank 0 need not wait for it, nor hold it
    from scipy import stats

    test = stats.kendalltau(at, level)
    slope = stats.theilslopes(level, at, alpha=1 - 2 * MISS)
    span = float((at[-1] - at[0]) / np.median(level))
    likely = bool(test.pvalue < ALPHA)  # nan, when all are equal, is not
    value, low, high = (
        float(one) * span for one in (slope.slope, slope.low_slope, slope.high_slope)
    )
    return Effect(value, low, high, likely)


def _warmed_up(cut: Batches, allowed: float, evidence: Evidence) -> Verdict:
    first = max(1, len(cut.bounds) // HEAD)
    head = _head(cut.level, first)
    count = cut.bounds[first].start - cut.bounds[0].start
    others = cut.requests - count
    if head.likely and head.value > allowed:
        message = (
            f"The first {count} requests of the window took {head.value:.0%} longer than the "
            f"others: {_warm(evidence)}."
        )
        return verdict("warmed_up", excess(head.value, allowed), head.value, allowed, message)
    if head.value > allowed or head.high >= 2 * allowed:
        longer_by = f"{head.value:.0%} longer than" if head.value > 0 else "no longer than"
        message = (
            f"The first {count} requests of the window took {longer_by} the other {others}, which "
            f"may be chance; they may have taken {head.high:.0%} longer: "
            f"{_more(cut, head, allowed, evidence)}."
        )
        return verdict("warmed_up", "unknown", head.value, allowed, message)
    message = (
        f"The first {count} requests of the window took no longer than the other {others}"
        if head.value <= 0
        else f"The first {count} requests of the window took {head.value:.1%} longer than the other "
        f"{others}, less than {allowed:.0%}"
    )
    text = f"{message}; {2 * allowed:.0%} would have shown."
    return verdict("warmed_up", "pass", head.value, allowed, text)


def _head(level: Floats, first: int) -> Effect:
    """The first batches against the others: Student's test and bounds, on logarithms."""
    from scipy import stats

    early, late = np.log(level[:first]), np.log(level[first:])
    apart = float(early.mean() - late.mean())
    freedom = len(level) - 2
    rest = ((early - early.mean()) ** 2).sum() + ((late - late.mean()) ** 2).sum()
    error = float(np.sqrt(rest / freedom * (1 / len(early) + 1 / len(late))))
    reach = float(stats.t.ppf(1 - MISS, freedom)) * error
    # as strict in its direction as `steady` is in each of its two
    likely = apart > float(stats.t.ppf(1 - ALPHA / 2, freedom)) * error
    value, low, high = (float(np.expm1(one)) for one in (apart, apart - reach, apart + reach))
    return Effect(value, low, high, likely)


def _warm(evidence: Evidence) -> str:
    """What helps against a cold start."""
    if evidence.run.cache_prompt and evidence.workload.kind in ("shared_prefix", "conversation"):
        return (
            "what they put into the server's cache was not there yet, and a warm-up's prompts are "
            "others; measure longer (run.rounds, run.iters or run.duration_s)"
        )
    return "warm up with more requests (run.warmup)"


def _more(cut: Batches, effect: Effect, allowed: float, evidence: Evidence) -> str:
    """How much longer to measure: until the doubt is as small as what has to be told from nothing."""
    goal = max(allowed, abs(effect.value) / 2)
    factor = max(1.5, (effect.doubt / goal) ** 2)
    return longer(
        math.ceil(factor * len(evidence.table)), evidence.run, evidence.load, evidence.workload
    )


def _too_few(check: str, allowed: float, cut: Batches, evidence: Evidence) -> Verdict:
    count = len(cut.bounds)
    if evidence.load.open or not count:
        enough = math.ceil(len(evidence.table) * ENOUGH_BATCHES / max(count, 1))
    else:  # the first round fills the places, and the last empties them
        enough = evidence.run.inflight * (ENOUGH_BATCHES + 2)
    message = (
        f"Requests that lie whole within the window begin at {count} moments, and {LEAST_BATCHES} "
        f"are needed to tell: {longer(enough, evidence.run, evidence.load, evidence.workload)}."
    )
    return verdict(check, "unknown", None, allowed, message)
