"""When tokens arrive, by the kernel's stamps."""

from __future__ import annotations

import pytest

from mls.core.units import NS_PER_MS
from mls.load.transport import timestamps

needs_kernel_timestamps = pytest.mark.skipif(
    not timestamps.supported(), reason="no kernel receive timestamps on this host"
)
CLOCKS_NS = NS_PER_MS
"""Allowance, in ns, for a slew of the wall clock, in which the kernel stamps arrivals."""


def assert_arrival(arrived_ns: int, sent_ns: tuple[int, int]) -> None:
    """The token arrived between the moments just before and just after its server's `send`."""
    before, after = sent_ns
    assert before - CLOCKS_NS <= arrived_ns <= after + CLOCKS_NS
