"""Energy during one run: of the cards, and of the CPU packages of the server's host."""

from __future__ import annotations

import numpy as np

from mls.analysis.repeat.hardware.series import Series
from mls.core.summary import Cpu
from mls.core.units import NS_PER_S

TOKENS = 1000


def energy_j(
    parts: list[tuple[Series | None, Series | None]], begin: int, end: int
) -> float | None:
    """Energy in J of some parts together, by each one's counter, else by its power in W.

    parts: (counter, power) of each. None when one of them has neither, or too few samples.
    """
    total = 0.0
    for counter, power in parts:
        if counter is not None and len(counter.value) > 1:
            low, high = np.interp([begin, end], counter.at_ns, counter.value)
            total += float(high - low)
        elif power is not None and len(power.value) > 1:
            inside = power.between(begin, end)
            at = np.concatenate([[begin], inside.at_ns, [end]])
            watts = np.interp(at, power.at_ns, power.value)
            total += float(np.trapezoid(watts, at) / NS_PER_S)
        else:
            return None
    return total


def per_1000_tokens(joules: float | None, tokens: int) -> float | None:
    """None where the energy or the tokens are unknown."""
    return joules / tokens * TOKENS if joules and tokens else None


def summarize_cpu(
    by_name: dict[tuple[str, str], Series], span_ns: tuple[int, int] | None, tokens: int
) -> Cpu | None:
    """`summary.cpu`; None where no counter of the CPU's energy was read.

    by_name: its telemetry, see `series`. span_ns: first start and last end. tokens: completion
    tokens.
    """
    if span_ns is None:
        return None
    counter = by_name.get(("host", "energy_j"))
    begin, end = span_ns
    joules = energy_j([(counter, None)], begin, end)
    if joules is None or end <= begin:
        return None
    return Cpu(
        energy_j=joules,
        power_w=joules / ((end - begin) / NS_PER_S),
        energy_j_per_1000_tokens=per_1000_tokens(joules, tokens),
    )
