"""Figures as texts: three significant digits, a unit, an interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the launcher's environment, which shows figures as well, lacks its libraries
    from mls.analysis.intervals import Estimate

NARROW = "\u202f"
"""Narrow no-break space: between a figure and its unit, and between thousands."""
TO = "\u2060–\u2060"
"""En dash of a range, at which no line breaks."""
P95 = f"95{NARROW}%"
MS_PER_S = 1000


def number(value: float | None) -> str:
    """Three significant digits or all whole ones, without an exponent; an en dash for None."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    figure = float(f"{value:.3g}")
    digits = max(0, 2 - math.floor(math.log10(abs(figure))))
    return f"{value:,.{min(digits, 6)}f}".replace(",", NARROW)


def milliseconds(value: float | None) -> str:
    """A time in ms as a text in ms, or in s from one second on."""
    scale, unit = _time_unit(value)
    return "–" if value is None else f"{number(value / scale)}{NARROW}{unit}"


def interval(estimate: Estimate, scale: float = 1.0) -> str:
    """Low and high end of an interval; empty without one. A negative end is 0, as no figure is."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{number(max(estimate.low, 0.0) / scale)}{TO}{number(estimate.high / scale)}"


def milliseconds_interval(estimate: Estimate) -> str:
    """The interval of a time in ms, in the unit of its value's text."""
    scale, unit = _time_unit(estimate.value)
    text = interval(estimate, scale)
    return text and f"{text}{NARROW}{unit}"


def _time_unit(value: float | None) -> tuple[float, str]:
    return (MS_PER_S, "s") if value is not None and value >= MS_PER_S else (1, "ms")
