"""Arrival schedules: the configured process, on any number of ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mls.config.sections.load import Load
from mls.core.units import NS_PER_S
from mls.load.workload.schedule import schedule

N = 4000
kinds = st.sampled_from(
    [
        Load(kind="constant", rate=50.0),
        Load(kind="poisson", rate=50.0),
        Load(kind="gamma", rate=50.0, burstiness=0.3),
        Load(kind="burst", burst=7, every_s=0.2),
    ]
)


def plan_of(load, seed=1, requests=N, duration_s=None):
    return schedule(load, seed, requests, duration_s, None)


def pool(load, ranks, seed=1):
    """Arrivals at the server in s: the shares of all ranks together, in order."""
    whole = [plan_of(load, seed) for _ in range(ranks)]  # each rank makes its own
    return (
        np.sort(np.concatenate([w.at_ns[w.share(i, ranks)] for i, w in enumerate(whole)]))
        / NS_PER_S
    )


@given(kinds, st.integers(0, 2**63), st.integers(1, 9), st.integers(1, 300))
@settings(max_examples=50)
def test_the_ranks_shares_are_the_schedule_whatever_their_number(load, seed, ranks, requests):
    whole = plan_of(load, seed, requests)
    shares = [plan_of(load, seed, requests).share(i, ranks) for i in range(ranks)]
    assert sorted(np.concatenate(shares)) == list(range(requests))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert (np.diff(whole.at_ns) >= 0).all() and whole.at_ns[0] >= 0


@given(st.integers(0, 2**62))
@settings(max_examples=20)
def test_a_seed_is_a_schedule(seed):
    load = Load(kind="poisson", rate=3.0)
    assert (plan_of(load, seed).at_ns == plan_of(load, seed).at_ns).all()
    assert (plan_of(load, seed).at_ns != plan_of(load, seed + 1).at_ns).any()


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_poisson_gaps_are_exponential_when_pooled(ranks, seed):
    times = pool(Load(kind="poisson", rate=20.0), ranks, seed)
    assert stats.kstest(np.diff(times), "expon", args=(0, 1 / 20)).pvalue > 0.01
    # the gaps are independent: counts in intervals are Poisson, too
    counts = np.histogram(times, np.arange(0, times[-1], 0.5))[0]
    dispersion = counts.var(ddof=1) / counts.mean() * (len(counts) - 1)
    assert 0.005 < stats.chi2.cdf(dispersion, len(counts) - 1) < 0.995


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("shape", [0.25, 4.0])
def test_gamma_gaps_are_gamma_when_pooled(ranks, shape):
    times = pool(Load(kind="gamma", rate=20.0, burstiness=shape), ranks)
    gaps = np.diff(times)
    assert stats.kstest(gaps, "gamma", args=(shape, 0, 1 / (20 * shape))).pvalue > 0.01
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(1 / shape, rel=0.15)


def test_one_ranks_share_alone_is_not_the_process():
    """Every second arrival of a Poisson process is no Poisson process: the test above can fail."""
    whole = plan_of(Load(kind="poisson", rate=20.0))
    gaps = np.diff(whole.at_ns[whole.share(0, 2)]) / NS_PER_S
    assert stats.kstest(gaps, "expon", args=(0, gaps.mean())).pvalue < 1e-6


def test_constant_and_burst_are_to_the_nanosecond():
    even = plan_of(Load(kind="constant", rate=8.0), requests=5).at_ns
    assert even.tolist() == [i * NS_PER_S // 8 for i in range(5)]
    burst = plan_of(Load(kind="burst", burst=3, every_s=2.0), requests=7).at_ns
    assert burst.tolist() == [0, 0, 0, *[2 * NS_PER_S] * 3, 4 * NS_PER_S]


@given(kinds, st.floats(0.01, 20), st.integers(0, 2**32))
@settings(max_examples=50)
def test_a_duration_gives_the_beginning_of_the_same_schedule(load, duration_s, seed):
    short = plan_of(load, seed, None, duration_s).at_ns
    long = plan_of(load, seed, None, duration_s + 5).at_ns
    assert (short < round(duration_s * NS_PER_S) + 1).all()
    assert (long[: len(short)] == short).all()
    assert len(long) == len(short) or long[len(short)] >= round(duration_s * NS_PER_S) - 1


def stages(*parts):
    return schedule(
        Load.model_validate({"kind": "stages", "stages": list(parts)}), 1, None, None, None
    )


def test_stages_follow_one_another():
    arrivals = stages(
        {"kind": "constant", "rate": 10.0, "duration_s": 2.0},
        {"kind": "poisson", "rate": 100.0, "duration_s": 3.0},
        {"kind": "burst", "burst": 4, "every_s": 1.0, "duration_s": 2.0},
    )
    at_s = arrivals.at_ns / NS_PER_S
    counts = np.bincount(arrivals.stage)
    assert counts[0] == 20 and counts[2] == 8
    assert stats.poisson.cdf(counts[1], 300) == pytest.approx(0.5, abs=0.49)
    for number, (begin, end) in enumerate([(0, 2), (2, 5), (5, 7)]):
        own = at_s[arrivals.stage == number]
        assert own.min() >= begin and own.max() < end
    assert (np.diff(arrivals.at_ns) >= 0).all()


@pytest.mark.parametrize("kind", ["constant", "poisson", "gamma"])
@pytest.mark.parametrize("rates", [(2.0, 40.0), (40.0, 2.0)])
def test_a_ramp_changes_its_rate_evenly(kind, rates):
    arrivals = stages({"kind": kind, "rate": rates[0], "rate_to": rates[1], "duration_s": 100.0})
    at_s = arrivals.at_ns / NS_PER_S
    total = sum(rates) / 2 * 100
    assert len(at_s) == pytest.approx(total, abs=4 * total**0.5)
    # rescaled by the cumulative rate, it is a process of rate 1 again
    slope = (rates[1] - rates[0]) / 100
    gaps = np.diff(rates[0] * at_s + slope * at_s**2 / 2)
    if kind == "constant":
        assert gaps == pytest.approx(np.ones(len(gaps)), abs=1e-5)
    else:
        assert stats.kstest(gaps, "expon").pvalue > 0.01
