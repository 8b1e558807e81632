"""Columns as numpy arrays: exact integers, masks for nulls, whatever the mixture of both."""

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mls.analysis.repeat.columns import floats, ints, lists

INTEGERS = st.integers(-(2**63), 2**63 - 1)


def columns(values):
    """Lists with some nulls, without any, and of nothing else."""
    return st.one_of(st.lists(values), st.lists(st.none()), st.lists(st.one_of(st.none(), values)))


@given(columns(INTEGERS))
def test_integers_keep_all_their_digits(values):
    column = ints(pa.table({"a": pa.array(values, pa.int64())}), "a")
    assert column.values.dtype == np.int64 and column.valid.dtype == np.bool_
    assert column.values.tolist() == [0 if value is None else value for value in values]
    assert column.valid.tolist() == [value is not None for value in values]


@given(columns(st.booleans()), st.sampled_from([pa.bool_(), pa.int8(), pa.int32()]))
def test_narrow_types_become_64_bits(values, kind):
    column = ints(pa.table({"a": pa.array(values, pa.bool_()).cast(kind)}), "a")
    assert column.values.dtype == np.int64
    assert column.values.tolist() == [int(value or 0) for value in values]


@given(columns(st.floats(allow_nan=False)), st.integers(0, 3))
def test_a_null_is_no_number(values, pieces):
    array = pa.array(values, pa.float64())
    cuts = [len(values) * n // (pieces + 1) for n in range(pieces + 2)]
    chunks = [array[begin:end] for begin, end in itertools.pairwise(cuts)]
    column = floats(pa.table({"a": pa.chunked_array(chunks)}), "a")
    assert np.array_equal(column, [np.nan if v is None else v for v in values], equal_nan=True)


@given(columns(st.lists(INTEGERS)))
def test_a_null_list_is_empty(values):
    column = lists(pa.table({"a": pa.array(values, pa.list_(pa.int64()))}), "a")
    assert column.values.tolist() == [one for each in values for one in each or ()]
    assert column.lengths.tolist() == [len(each or ()) for each in values]
