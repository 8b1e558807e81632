"""How often the 95 % intervals hold the truth, for simulated repeats whose truth is known.

`python -m benchmarks.coverage`. No server, no clock: pure arithmetic with stated seeds.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from benchmarks.tables import save
from mls.analysis import intervals
from mls.analysis.adaptive.steps import half_width
from mls.analysis.intervals import Estimate

SEED = 20_240_601
WITHIN = 0.35
"""Standard deviation of the logarithm of latencies within a repeat."""
PERCENTILE = 95
WIDTH, MOST = 0.05, 20
"""Defaults of `precision`."""


def repeats_of(rng: np.random.Generator, count: int, requests: int, between: float) -> list:
    """`count` repeats, each an array of `requests` latencies about a level of its own."""
    levels = rng.normal(0, between, count)
    return [np.exp(level + rng.normal(0, WITHIN, requests)) for level in levels]


def truth(between: float) -> tuple[float, float]:
    """(mean, p95) of a request of any repeat: lognormal with both variances together."""
    spread = np.hypot(between, WITHIN)
    return float(np.exp(spread**2 / 2)), float(np.exp(spread * stats.norm.ppf(PERCENTILE / 100)))


def hits(estimate: Estimate | None, value: float) -> bool:
    return bool(estimate and estimate.low is not None and estimate.low <= value <= estimate.high)


def bootstrap(samples: list, rng: np.random.Generator) -> tuple[float, float]:
    """Hierarchical percentile bootstrap of p95: repeats, then requests within them."""
    data = np.array(samples)
    draws = []
    for _ in range(400):
        repeats = data[rng.integers(0, len(data), len(data))]
        inner = rng.integers(0, data.shape[1], data.shape)
        draws.append(np.percentile(np.take_along_axis(repeats, inner, axis=1), PERCENTILE))
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def coverage(count: int, requests: int, between: float, runs: int, boot: int) -> list[float]:
    """Share of simulations whose interval holds the truth: mean, p95, ratio, bootstrap of p95."""
    rng = np.random.default_rng([SEED, count, requests, round(between * 1000)])
    mean, p95 = truth(between)
    counts = np.zeros(4)
    for run in range(runs):
        one, other = (repeats_of(rng, count, requests, between) for _ in range(2))
        means = [float(x.mean()) for x in one]
        counts[0] += hits(intervals.mean(means), mean)
        counts[1] += hits(intervals.percentiles(one, [PERCENTILE])[PERCENTILE], p95)
        counts[2] += hits(intervals.ratio(means, [float(x.mean()) for x in other]), 1.0)
        if run < boot:
            low, high = bootstrap(one, rng)
            counts[3] += low <= p95 <= high
    return [counts[0] / runs, counts[1] / runs, counts[2] / runs, counts[3] / max(boot, 1)]


def adaptive_coverage(least: int, between: float, runs: int) -> list[float]:
    """With `repeats: auto`: share of intervals that hold the mean, mean number of repeats.

    Each repeat has one figure, normal about 1 with the standard deviation `between`. After `least`
    repeats one more follows at a time, until half the interval is at most `WIDTH` of the mean, or
    there are `MOST`.
    """
    rng = np.random.default_rng([SEED, least, round(between * 1000)])
    hit_count, count = 0, 0
    for _ in range(runs):
        values = [float(x) for x in rng.normal(1, between, least)]
        while (width := half_width(estimate := intervals.mean(values))) is None or width > WIDTH:
            if len(values) == MOST:
                break
            values.append(float(rng.normal(1, between)))
        hit_count += hits(estimate, 1.0)
        count += len(values)
    return [hit_count / runs, count / runs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--bootstraps", type=int, default=300)
    options = parser.parse_args()
    rows = []
    for between in (0.02, 0.1):
        for count in (3, 5, 10):
            for requests in (24, 64, 256):
                shares = coverage(count, requests, between, options.runs, options.bootstraps)
                names = ("mean", "p95", "ratio of means", "p95 by bootstrap")
                setting = {"sd between": between, "repeats": count, "requests": requests}
                rows.append(setting | dict(zip(names, shares, strict=True)))
    print(save(rows, "coverage").to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    rows = []
    for least in (3, 5):
        for between in (0.01, 0.02, 0.05, 0.1):
            share, number = adaptive_coverage(least, between, options.runs)
            setting = {"sd between": between, "least": least}
            rows.append(setting | {"mean": share, "repeats, mean": number})
    print("\nrepeats: auto")
    print(save(rows, "coverage_auto").to_string(index=False, float_format=lambda x: f"{x:.3f}"))


if __name__ == "__main__":
    main()
