"""95 % intervals over repeats. A repeat, not a request, is the independent observation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import special

from mls.analysis.repeat.columns import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval. `low` and `high` are None with a single repeat."""

    value: float
    low: float | None
    high: float | None
    repeats: int
    needs: int | None = None
    """The samples that a percentile needs, where there are fewer; None where there are enough."""

    def inverse(self) -> Estimate:
        """The reciprocal of a ratio, with its interval."""
        if self.low is None or self.high is None:
            return Estimate(1 / self.value, None, None, self.repeats)
        return Estimate(1 / self.value, 1 / self.high, 1 / self.low, self.repeats)


def mean(values: Sequence[float]) -> Estimate | None:
    """Mean of one figure a repeat, with Student's t interval. None without values.

    The interval of figures above 0, such as rates, is cut at 0: what it has below can't be.
    """
    if not len(values):
        return None
    data = np.asarray(values, float)
    error = float(data.std(ddof=1) / np.sqrt(len(data))) if len(data) > 1 else None
    estimate = _student(float(data.mean()), error, len(data))
    if estimate.low is None or data.min() <= 0:
        return estimate
    return replace(estimate, low=max(estimate.low, 0.0))


def percentiles(repeats: Sequence[Floats], percents: Sequence[int]) -> dict[int, Estimate]:
    """Percentiles of the pooled samples, with intervals from the repeats' own percentiles.

    repeats: the samples of each repeat. The value is the percentile of the pooled samples. The
    interval reaches Student's t times the standard error to either side. That standard error is the
    one of the mean of the repeats' own percentiles, on logarithms, since latencies are skewed. The
    repeats' percentiles are the median-unbiased ones (Hyndman and Fan's type 8), since a repeat has
    few samples. benchmarks/coverage.py measures the coverage. Empty without samples.
    """
    filled = [samples for samples in repeats if len(samples)]
    if not filled:
        return {}
    pooled = np.percentile(np.concatenate(filled), percents)
    own = np.array([np.percentile(x, percents, method="median_unbiased") for x in filled])
    return {percent: _percentile(float(pooled[i]), own[:, i]) for i, percent in enumerate(percents)}


def _percentile(value: float, own: Floats) -> Estimate:
    count = len(own)
    if count == 1:
        return _student(value, None, 1)
    if value <= 0 or own.min() <= 0:
        return _student(value, float(own.std(ddof=1) / np.sqrt(count)), count)
    error = float(np.log(own).std(ddof=1) / np.sqrt(count))
    factor = float(np.exp(_t(count) * error))
    return Estimate(value, value / factor, value * factor, count)


def ratio(values: Sequence[float], base: Sequence[float]) -> Estimate | None:
    """Ratio of the geometric means of `values` and `base`, with Welch's interval on logarithms.

    None when a side is empty, or has a value that is not above 0.
    """
    if not len(values) or not len(base) or min(*values, *base) <= 0:
        return None
    repeats = min(len(values), len(base))
    if repeats < 2:
        value = float(np.exp(np.log(values).mean() - np.log(base).mean()))
        return Estimate(value, None, None, repeats)
    difference, error, freedom = _welch(values, base)
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error if error else 0.0
    return _of_logs(difference, half, repeats)


def chance_of_more(values: Sequence[float], base: Sequence[float]) -> float | None:
    """Probability of a ratio as high as this or higher if there were no difference.

    The test is Welch's on logarithms, one-sided. None when a side has fewer than two repeats, or a
    value that is not above 0.
    """
    if min(len(values), len(base)) < 2 or min(*values, *base) <= 0:
        return None
    difference, error, freedom = _welch(values, base)
    if not error:
        return 0.5 - 0.5 * float(np.sign(difference))
    return float(special.stdtr(freedom, -difference / error))


def _welch(values: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """(difference of the means of logs, its standard error, degrees of freedom)."""
    above, below = np.log(values), np.log(base)
    difference = float(above.mean() - below.mean())
    parts = np.array([above.var(ddof=1) / len(above), below.var(ddof=1) / len(below)])
    if not parts.sum():
        return difference, 0.0, 1.0
    freedom = parts.sum() ** 2 / (parts**2 / [len(above) - 1, len(below) - 1]).sum()
    return difference, float(np.sqrt(parts.sum())), float(freedom)


def ratios(groups: Sequence[Sequence[float]], families: int = 1) -> list[list[Estimate]]:
    """Ratios of all pairs of groups: row i, column j is group i over group j.

    Ratios are those of geometric means, with Tukey and Kramer's intervals on logarithms. All
    intervals hold together in 95 of 100 cases; each of `ratio` holds in 95 of 100 by itself. The
    spread is assumed to be the same in all groups. families: number of calls whose intervals hold
    together. There must be at least two groups, with at least two values each, all above 0.
    """
    logs = [np.log(group) for group in groups]
    freedom = sum(len(own) - 1 for own in logs)
    spread = sum(float(((own - own.mean()) ** 2).sum()) for own in logs) / freedom
    reach = _tukey(len(logs), freedom, 1 - (1 - CONFIDENCE) / families)

    def against(above: Floats, below: Floats) -> Estimate:
        difference = float(above.mean() - below.mean())
        half = reach * float(np.sqrt(spread / 2 * (1 / len(above) + 1 / len(below))))
        return _of_logs(difference, half, min(len(above), len(below)))

    return [[against(above, below) for below in logs] for above in logs]


def _of_logs(difference: float, half: float, repeats: int) -> Estimate:
    low, value, high = np.exp([difference - half, difference, difference + half])
    return Estimate(float(value), float(low), float(high), repeats)


def _student(value: float, error: float | None, repeats: int) -> Estimate:
    if error is None:
        return Estimate(value, None, None, repeats)
    half = _t(repeats) * error
    return Estimate(value, value - half, value + half, repeats)


@cache
def _t(repeats: int) -> float:
    """Student's t of a mean over this many repeats."""
    return float(special.stdtrit(repeats - 1, (1 + CONFIDENCE) / 2))


@cache
def _tukey(groups: int, freedom: int, confidence: float) -> float:
    """The studentized range that groups exceed by chance with probability 1 - confidence."""
    from scipy import stats  # its import takes a second

    return float(stats.studentized_range.ppf(confidence, groups, freedom))
