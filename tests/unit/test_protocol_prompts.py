"""The built-in prompts."""

from hypothesis import given
from hypothesis import strategies as st

from mls.protocol.prompts import prompt

jobs = st.integers(-1000, 10**9)
seeds = st.integers(0, 2**63)


@given(seeds, jobs, st.integers(1, 200))
def test_the_same_for_the_same_seed_and_job(seed, job, words):
    """A prompt depends on nothing else, so any number of ranks gives the same prompts."""
    assert prompt(seed, job, words) == prompt(seed, job, words)
    assert prompt(seed, job, words).split(": ", 1)[1].count(" ") == words - 1


def test_stays_the_same_from_version_to_version():
    """Results of two versions are compared, so a change here must be deliberate."""
    expected = "4205581142. Make up a newspaper article about: pioneer duty middle"
    assert prompt(1, 0, 3) == expected


def test_all_differ_and_share_no_beginning():
    prompts = [prompt(1, job, 16) for job in range(-50, 5000)]
    assert len(set(prompts)) == len(prompts)
    assert len({text[:8] for text in prompts}) > 0.99 * len(prompts)


@given(seeds, seeds, jobs)
def test_seeds_give_different_prompts(one, other, job):
    assert (prompt(one, job, 16) == prompt(other, job, 16)) == (one == other)
