"""Trend, slope and quantile of the checks are scipy's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mls.analysis.checks.student import quantile
from mls.analysis.checks.trend import kendall_p, sen_slope

SERIES = st.lists(st.floats(0.1, 10), min_size=5, max_size=12)
WITH_TIES = st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]), min_size=5, max_size=12)


@given(SERIES | WITH_TIES)
def test_kendall_s_test_is_scipy_s(values):
    level = np.array(values)
    expected = stats.kendalltau(np.arange(len(level)), level).pvalue
    assert kendall_p(level) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_equal_values_tell_nothing():
    assert math.isnan(kendall_p(np.ones(6)))


@given(SERIES | WITH_TIES, st.floats(0.005, 0.2), st.integers(0, 2**32 - 1))
def test_sen_s_slope_and_its_bounds_are_scipy_s(values, miss, seed):
    level = np.array(values)
    at = np.cumsum(np.random.default_rng(seed).uniform(0.1, 1, len(level)))
    expected = stats.theilslopes(level, at, alpha=1 - 2 * miss)
    slopes = (expected.slope, expected.low_slope, expected.high_slope)
    assert sen_slope(at, level, miss) == pytest.approx(slopes)


@given(st.floats(0.55, 0.999999), st.integers(1, 40))
def test_student_s_quantile_is_scipy_s(probability, freedom):
    assert quantile(probability, freedom) == pytest.approx(
        stats.t.ppf(probability, freedom), rel=1e-8
    )
