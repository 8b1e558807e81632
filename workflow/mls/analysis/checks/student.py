"""The quantile of Student's t for a few degrees of freedom, without the import of scipy."""

from __future__ import annotations

import math

_PRECISION = 1e-13


def quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t. probability: above 0.5. freedom: a small number."""
    low, high = 0.0, 1.0
    while _distribution(high, freedom) < probability:
        low, high = high, 2 * high
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        if _distribution(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _distribution(t: float, freedom: int) -> float:
    """Distribution function for t ≥ 0 (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    within = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return (1 + within) / 2
