"""The kernel's arithmetic in NumPy, which equals its steps taken one by one."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.gpu import kernel
from mls.gpu.kernel import INCREMENT, LANES, MULTIPLIER, SPREAD, affine_power, reference

MASK = 2**32 - 1


def literally(data: bytes, work: int, first: int = 0) -> int:
    """The kernel's loop in plain integers."""
    total = 0
    for i, value in enumerate(data):
        for lane in range(LANES):
            x = ((value + 1) * SPREAD & MASK) ^ (((first + i) * LANES + lane) & MASK)
            for _ in range(work // LANES):
                x = (x * MULTIPLIER + INCREMENT) & MASK
            total += x
    return total % 2**64


@given(
    data=st.binary(max_size=40),
    steps=st.integers(1, 30),
    first=st.integers(0, 2**30),
)
def test_reference_is_the_loop_taken_literally(data, steps, first):
    assert reference(data, steps * LANES, first) == literally(data, steps * LANES, first)


@given(first=st.integers(0, 500), second=st.integers(0, 500), x=st.integers(0, MASK))
def test_steps_add_up(first, second, x):
    (m, c), (n, d), (p, e) = map(affine_power, (first, second, first + second))
    assert ((x * m + c) * n + d) & MASK == (x * p + e) & MASK


@given(data=st.binary(min_size=1, max_size=300), cut=st.integers(0, 300), work=st.integers(1, 999))
def test_pieces_of_a_reply_add_up_to_the_whole(data, cut, work):
    cut = min(cut, len(data))
    work *= LANES
    parts = reference(data[:cut], work) + reference(data[cut:], work, first=cut)
    assert parts % 2**64 == reference(data, work)


def test_a_wrong_byte_place_or_number_of_steps_changes_the_checksum():
    right = reference(b"data: {}", 64)
    assert right != reference(b"data: {|", 64)
    assert right != reference(b"atad: {}", 64)
    assert right != reference(b"data: {}", 72)
    assert right != reference(b"data: {}", 64, first=1)


def test_any_array_of_bytes_will_do():
    data = bytes(range(256))
    assert reference(np.frombuffer(data, np.uint8), 8) == reference(data, 8)


@pytest.mark.parametrize(("name", "value"), [("LANES", f"{LANES}u"), ("SPREAD", f"0x{SPREAD:X}u")])
def test_the_source_has_the_same_constants(name, value):
    assert re.search(rf"\b{value}\b", kernel.SOURCE), name
