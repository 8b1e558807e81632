"""The pause before a request is sent again after the server asked to wait."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.core.units import NS_PER_S
from mls.load.transport.retry import pause_ns, seconds_of

LONGEST_NS = 60 * NS_PER_S


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        (" 3 ", 3.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-5", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("1e9", 0.0),
        ("9" * 5000, math.inf),
        ("soon", 0.0),
        ("", 0.0),
        (None, 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_what_the_header_asks_for(header: str | None, seconds: float) -> None:
    assert seconds_of(header) == seconds


def test_a_date_is_so_far_from_now() -> None:
    assert 18 < seconds_of(formatdate(time.time() + 20, usegmt=True)) <= 20
    date = datetime.now(UTC) + timedelta(seconds=20)
    assert 18 < seconds_of(format_datetime(date)) <= 20


def test_the_header_may_only_lengthen_a_pause() -> None:
    assert pause_ns(1, "0.01") == pause_ns(1) == NS_PER_S // 10
    assert pause_ns(1, "2.5") == 5 * NS_PER_S // 2
    assert pause_ns(1, formatdate(time.time() + 9999, usegmt=True)) == LONGEST_NS


@given(st.integers(1, 10**6), st.none() | st.text() | st.floats().map(str))
def test_every_pause_is_bounded(attempts: int, header: str | None) -> None:
    assert NS_PER_S // 10 <= pause_ns(attempts, header) <= LONGEST_NS
