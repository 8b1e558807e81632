"""The trend of a short series, by Mann and Kendall's test and Sen's slope.

Rank 0 judges each repeat. scipy has both, but its import takes longer than a short run.
"""

from __future__ import annotations

import math
from itertools import accumulate
from statistics import NormalDist

import numpy as np

from mls.analysis.repeat.columns import Floats

_NORMAL = NormalDist()


def kendall_p(level: Floats) -> float:
    """Two-sided p-value of Mann and Kendall's test for a trend; nan when all values are equal.

    It is exact without ties, and a normal approximation with them (Kendall, Rank Correlation
    Methods, 1970). The series is short: all permutations of a hundred values take a moment.
    """
    size = len(level)
    first, second = np.triu_indices(size, 1)
    signs = np.sign(level[second] - level[first])
    if signs.all():
        rising, pairs = int((signs > 0).sum()), len(signs)
        counts = _inversions(size)
        tail = sum(counts[: min(rising, pairs - rising) + 1])
        return min(1.0, 2 * tail / math.factorial(size))
    deviation = _deviation(level)
    return 2 * _NORMAL.cdf(-abs(float(signs.sum())) / deviation) if deviation else math.nan


def sen_slope(at: Floats, level: Floats, miss: float) -> tuple[float, float, float]:
    """(slope, low, high): the median slope of all pairs, and its bounds (Sen, JASA 63, 1968).

    at: ascending, without ties. miss: probability that the slope lies outside each bound.
    """
    first, second = np.triu_indices(len(at), 1)
    slopes = np.sort((level[second] - level[first]) / (at[second] - at[first]))
    reach = -_NORMAL.inv_cdf(miss) * _deviation(level)
    low = max(round((len(slopes) - reach) / 2) - 1, 0)
    high = min(round((len(slopes) + reach) / 2), len(slopes) - 1)
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])


def _inversions(size: int) -> list[int]:
    """Number of permutations of `size` values with 0, 1, 2, … inversions."""
    counts = [1]
    for length in range(2, size + 1):
        # The longest value adds 0 to length - 1 inversions: sums of as many neighbours
        sums = list(accumulate([*counts, *[0] * (length - 1)]))
        before = [*[0] * length, *sums][: len(sums)]
        counts = [total - less for total, less in zip(sums, before, strict=True)]
    return counts


def _deviation(level: Floats) -> float:
    """Standard deviation of Kendall's sum of signs without a trend, corrected for ties."""
    ties = np.unique(level, return_counts=True)[1]
    sizes = np.array([len(level), *ties])
    whole, *tied = sizes * (sizes - 1) * (2 * sizes + 5)
    return math.sqrt((whole - sum(tied)) / 18)
