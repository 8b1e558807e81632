"""How often do the 95 % intervals hold the truth? Simulated repeats whose truth is known.

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


def hits(found: Estimate | None, true: float) -> bool:
    return bool(found and found.low is not None and found.low <= true <= found.high)


def bootstrap(samples: list, rng: np.random.Generator) -> tuple[float, float]:
    """Hierarchical percentile bootstrap of p95: repeats, then requests within them."""
    data = np.array(samples)
    draws = []
    for _ in range(400):
        chosen = data[rng.integers(0, len(data), len(data))]
        inner = rng.integers(0, data.shape[1], data.shape)
        draws.append(np.percentile(np.take_along_axis(chosen, inner, axis=1), PERCENTILE))
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def coverage(count: int, requests: int, between: float, runs: int, boot: int) -> list[float]:
    """Share of simulations whose interval holds the truth: mean, p95, ratio, bootstrap of p95."""
    rng = np.random.default_rng([SEED, count, requests, round(between * 1000)])
    mean, p95 = truth(between)
    held = np.zeros(4)
    for run in range(runs):
        one, other = (repeats_of(rng, count, requests, between) for _ in range(2))
        means = [float(x.mean()) for x in one]
        held[0] += hits(intervals.mean(means), mean)
        held[1] += hits(intervals.percentiles(one, [PERCENTILE])[PERCENTILE], p95)
        held[2] += hits(intervals.ratio(means, [float(x.mean()) for x in other]), 1.0)
        if run < boot:
            low, high = bootstrap(one, rng)
            held[3] += low <= p95 <= high
    return [held[0] / runs, held[1] / runs, held[2] / runs, held[3] / max(boot, 1)]


def stopped(least: int, between: float, runs: int) -> list[float]:
    """The same where `repeats: auto` chose the number: share that holds the mean, mean number.

    One figure a repeat, normal about 1 with the standard deviation `between`; `least` repeats, then
    more until half the interval is at most `WIDTH` of the mean, or there are `MOST`.
    """
    rng = np.random.default_rng([SEED, least, round(between * 1000)])
    held, count = 0, 0
    for _ in range(runs):
        values = [float(x) for x in rng.normal(1, between, least)]
        while (width := half_width(found := intervals.mean(values))) is None or width > WIDTH:
            if len(values) == MOST:
                break
            values.append(float(rng.normal(1, between)))
        held += hits(found, 1.0)
        count += len(values)
    return [held / runs, count / runs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--bootstraps", type=int, default=300)
    given = parser.parse_args()
    rows = []
    for between in (0.02, 0.1):
        for count in (3, 5, 10):
            for requests in (24, 64, 256):
                found = coverage(count, requests, between, given.runs, given.bootstraps)
                names = ("mean", "p95", "ratio of means", "p95 by bootstrap")
                setting = {"sd between": between, "repeats": count, "requests": requests}
                rows.append(setting | dict(zip(names, found, strict=True)))
    print(save(rows, "coverage").to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    rows = []
    for least in (3, 5):
        for between in (0.01, 0.02, 0.05, 0.1):
            share, number = stopped(least, between, given.runs)
            setting = {"sd between": between, "least": least}
            rows.append(setting | {"mean": share, "repeats, mean": number})
    print("\nrepeats: auto")
    print(save(rows, "coverage_auto").to_string(index=False, float_format=lambda x: f"{x:.3f}"))


if __name__ == "__main__":
    main()
