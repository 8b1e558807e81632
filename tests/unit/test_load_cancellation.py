"""Which requests are cancelled, and when: by seed and job alone, never a canary or the warm-up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.synthetic import config

from mls.config.cells import cells
from mls.config.sections.run import Cancel, Run
from mls.config.settings import settings
from mls.core.units import NS_PER_S
from mls.load.canaries.plan import CanaryPlan
from mls.load.cancellation import Cancellations

WITHIN = {"min": 0.5, "max": 2.0}


@given(seed=st.integers(0, 2**32), share=st.floats(0.01, 1), jobs=st.permutations(range(40)))
def test_the_order_of_the_requests_changes_nothing(seed, share, jobs):
    cancel = Cancel.model_validate({"share": share, "after_s": WITHIN})
    here, there = Cancellations(cancel, seed), Cancellations(cancel, seed)
    moments = {job: here.after_ns(job) for job in jobs}
    assert moments == {job: there.after_ns(job) for job in range(40)}
    drawn = [moment for moment in moments.values() if moment is not None]
    assert all(0.5 * NS_PER_S <= moment <= 2 * NS_PER_S for moment in drawn)
    assert len(drawn) == 40 or share < 1


def test_moments_are_drawn_as_think_times_are():
    after_s = {"distribution": "lognormal", "mean": 1.0, "std": 0.5, "max": 3.0}
    drawn = [
        Cancellations(Cancel.model_validate({"share": 1.0, "after_s": after_s}), 7).after_ns(job)
        for job in range(2000)
    ]
    assert all(0 < moment <= 3 * NS_PER_S for moment in drawn)
    assert abs(sum(drawn) / len(drawn) / NS_PER_S - 1) < 0.05


def test_the_share_is_what_the_config_says_and_another_seed_draws_others():
    cancel = Cancel(share=0.3, after_s=1.0)
    drawn = [
        {job for job in range(10_000) if Cancellations(cancel, seed).after_ns(job) is not None}
        for seed in (1, 2)
    ]
    # 10 standard deviations of a binomial count
    assert all(abs(len(jobs) - 3000) < 460 for jobs in drawn) and drawn[0] != drawn[1]


def test_neither_the_warm_up_nor_canaries_are_cancelled():
    canaries = CanaryPlan(((), ()), 4, 7)
    plan = Cancellations(Cancel(share=1.0, after_s=1.0), 7, canaries)
    for job in range(-20, 200):
        spared = job < 0 or canaries.number(job) is not None
        assert (plan.after_ns(job) is None) == spared
    assert sum(plan.after_ns(job) is None for job in range(200)) == 50


def test_the_share_is_an_axis_and_none_are_cancelled_where_it_is_0():
    cancel = {"share": 1.0, "after_s": WITHIN}
    sweep = config(run={"cancel": cancel}, sweep={"cancel_share": [0, 0.25]})
    shares = [settings(sweep, cell, 1).run.cancel for cell in cells(sweep)]
    assert [one.share for one in shares] == [0, 0.25]
    assert all(one.after_s == Cancel.model_validate(cancel).after_s for one in shares)
    assert all(Cancellations(shares[0], 1).after_ns(job) is None for job in range(100))


@pytest.mark.parametrize(
    "cancel, problem",
    [
        ({"share": -0.1, "after_s": 1.0}, "share"),
        ({"share": 1.5, "after_s": 1.0}, "share"),
        ({"share": 0.5}, "after_s"),
        ({"share": 0.5, "after_s": 0.0}, "expected after_s above 0"),
        ({"share": 0.5, "after_s": {"min": 2.0, "max": 1.0}}, "max must not be less than min"),
    ],
)
def test_a_wrong_key_is_named(cancel, problem):
    with pytest.raises(ValidationError, match=problem):
        Run.model_validate({"cancel": cancel})
