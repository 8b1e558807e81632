"""Pauses between a reply and the next request are drawn by seed and job."""

from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.workload import Durations, Workload
from mls.core.units import NS_PER_S
from mls.load.workload.conversations.pauses import Pauses

seeds, jobs = st.integers(0, 2**63), st.integers(0, 10**6)
DRAWN = {
    "uniform": {"min": 1.0, "max": 3.0},
    "lognormal": {"mean": 2.0, "std": 1.0},
    "empirical": {"values": [0.5, 2.0, 3.5]},
}
STD = {"uniform": 2 / 12**0.5, "lognormal": 1.0, "empirical": 1.5**0.5}


def pauses(seed=1, **keys):
    return Pauses(Durations.model_validate(keys), seed)


@given(seeds, jobs, st.sampled_from(sorted(DRAWN)))
def test_a_pause_depends_on_seed_and_job_alone(seed, job, distribution):
    one, other = (pauses(seed, distribution=distribution, **DRAWN[distribution]) for _ in "ab")
    other.after_ns(job + 1)
    assert one.after_ns(job) == other.after_ns(job) >= 0


@pytest.mark.parametrize("distribution", DRAWN)
def test_mean_and_deviation_are_those_of_the_distribution(distribution):
    of = pauses(distribution=distribution, **DRAWN[distribution])
    draws = [of.after_ns(job) / NS_PER_S for job in range(4000)]
    assert fmean(draws) == pytest.approx(2.0, rel=0.03)
    assert stdev(draws) == pytest.approx(STD[distribution], rel=0.08)
    assert draws != [
        pauses(2, distribution=distribution, **DRAWN[distribution]).after_ns(job) / NS_PER_S
        for job in range(4000)
    ]


@given(seeds, jobs, st.floats(0, 5), st.floats(0.001, 5))
def test_a_pause_stays_within_its_limits(seed, job, least, more):
    most = least + more
    keys = {"distribution": "lognormal", "mean": 3.0, "std": 9.0, "min": least, "max": most}
    assert int(least * NS_PER_S) <= pauses(seed, **keys).after_ns(job) <= most * NS_PER_S


def test_a_number_is_the_pause_itself_and_two_limits_are_an_even_draw():
    think = [
        Workload.model_validate({"kind": "conversation", "think_s": value}).think_s
        for value in (0.25, {"min": 0.25, "max": 0.75}, 0)
    ]
    assert [Pauses(think[0], 1).after_ns(job) for job in (0, 7)] == [250_000_000] * 2
    draws = [Pauses(think[1], 1).after_ns(job) for job in range(200)]
    assert 250_000_000 <= min(draws) < max(draws) <= 750_000_000
    assert [each.never for each in think] == [False, False, True]
