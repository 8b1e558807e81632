"""95 % intervals over repeats: a repeat, not a request, is the independent observation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mls.analysis.columns import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `low` and `high` are None with a single repeat."""

    value: float
    low: float | None
    high: float | None
    repeats: int

    def overlaps(self, other: Estimate) -> bool | None:
        """Whether the intervals have a point in common; None when one of them has no interval."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return None
        return self.low <= other.high and other.low <= self.high


def mean(values: Sequence[float]) -> Estimate | None:
    """Mean of one figure a repeat, with Student's t interval; None without values."""
    if not len(values):
        return None
    data = np.asarray(values, float)
    error = float(data.std(ddof=1) / np.sqrt(len(data))) if len(data) > 1 else None
    return _student(float(data.mean()), error, len(data))


def pooled(repeats: Sequence[Floats], statistic: Callable[[Floats], float]) -> Estimate | None:
    """A statistic of all samples pooled, with an interval by the delete-one-repeat jackknife.

    Its standard error is that of Quenouille and Tukey, with groups as the units (Shao and Wu,
    Annals of Statistics 17, 1989), which holds for percentiles, too, as whole groups are left
    out; for a mean of repeats of one size it is exactly `mean`'s interval.
    """
    filled = [samples for samples in repeats if len(samples)]
    if not filled:
        return None
    count = len(filled)
    value = float(statistic(np.concatenate(filled)))
    if count == 1:
        return _student(value, None, 1)
    without = np.array(
        [statistic(np.concatenate(filled[:i] + filled[i + 1 :])) for i in range(count)]
    )
    error = float(np.sqrt((count - 1) / count * np.square(without - without.mean()).sum()))
    return _student(value, error, count)


def ratio(values: Sequence[float], base: Sequence[float]) -> Estimate | None:
    """How many times `base` the `values` are: ratio of geometric means, Welch's interval on logs."""
    if not len(values) or not len(base) or min(*values, *base) <= 0:
        return None
    above, below = np.log(values), np.log(base)
    value = float(np.exp(above.mean() - below.mean()))
    repeats = min(len(above), len(below))
    if repeats < 2:
        return Estimate(value, None, None, repeats)
    if not above.var() and not below.var():
        return Estimate(value, value, value, repeats)
    found = stats.ttest_ind(above, below, equal_var=False).confidence_interval(CONFIDENCE)
    return Estimate(value, float(np.exp(found.low)), float(np.exp(found.high)), repeats)


def _student(value: float, error: float | None, repeats: int) -> Estimate:
    if error is None:
        return Estimate(value, None, None, repeats)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, repeats - 1)) * error
    return Estimate(value, value - half, value + half, repeats)
