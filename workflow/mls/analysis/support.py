"""How many samples a percentile needs, to be more than a guess."""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def least_samples(percentile: float) -> int:
    """Samples needed for their greatest to lie above the percentile with 95 % confidence.

    The least n with 1 − q^n ≥ 0.95 (Wilks, Annals of Mathematical Statistics 12, 1941): 5 for p50,
    29 for p90, 59 for p95, 299 for p99. With fewer there may well be no sample above it at all.
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(percentile / 100))
