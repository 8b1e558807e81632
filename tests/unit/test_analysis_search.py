"""The values that a search tries: properties that hold for any server."""

from hypothesis import given
from hypothesis import strategies as st

from mls.analysis.adaptive.search import bracket, next_value
from mls.config.sections.adaptive import Search


def short(value):
    return float(f"{value:.4g}")


INFLIGHT = st.builds(
    lambda low, more, within: Search(low=float(low), high=float(low + more), within=within),
    st.integers(1, 50),
    st.integers(1, 5000),
    st.sampled_from([1e-6, 0.05, 0.3]),
)
RATE = st.builds(
    lambda low, factor, within: Search(
        axis="rate", low=short(low), high=short(low * factor), within=within
    ),
    st.floats(0.01, 100),
    st.floats(1.1, 1000),
    st.sampled_from([0.001, 0.05, 0.3]),
)


def search_for(search, meets):
    """Value → answer, for all values that the search tries."""
    answers = {}
    while (value := next_value(search, answers)) is not None:
        assert value not in answers, "a value is tried once"
        assert len(answers) < 60, "it comes to an end"
        answers[value] = meets(value)
    return answers


@given(INFLIGHT | RATE, st.randoms(use_true_random=False))
def test_it_ends_and_stays_within_its_bounds_whatever_the_answers(search, random):
    for value in search_for(search, lambda _: random.random() < 0.5):
        assert search.low <= value <= search.high


@given(INFLIGHT, st.floats(0, 6000))
def test_where_the_truth_is_a_limit_it_is_found(search, limit):
    answers = search_for(search, lambda value: value <= limit)
    within, beyond = bracket(answers)
    if limit < search.low:
        assert (within, beyond) == (None, search.low)
    elif limit >= search.high:
        assert (within, beyond) == (search.high, None)
    else:
        assert within <= limit < beyond
        assert beyond - within == 1 or beyond <= within * (1 + search.within)
    # no value far beyond the limit, where a run may take very long
    assert max(answers) <= max(2 * limit, search.low)


@given(RATE, st.floats(0.001, 2e5))
def test_a_rate_is_found_to_within_what_was_asked(search, limit):
    within, beyond = bracket(search_for(search, lambda value: value <= limit))
    assert within is None or within <= limit
    assert beyond is None or beyond > limit
    if within is not None and beyond is not None:
        # values have four digits
        assert beyond <= within * (1 + max(search.within, 2e-3))


def test_it_doubles_and_then_halves():
    search = Search(low=1, high=64)
    assert list(search_for(search, lambda value: value <= 5)) == [1, 2, 4, 8, 6, 5]
    assert list(search_for(search, lambda value: value <= 64)) == [1, 2, 4, 8, 16, 32, 64]
    rate = Search(axis="rate", low=0.5, high=10.0, within=0.1)
    assert list(search_for(rate, lambda value: value <= 1.3)) == [0.5, 1, 2, 1.5, 1.25, 1.375]
