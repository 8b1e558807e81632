"""The axes of a drawing of estimates: places and ticks, bars, and where they end."""

from __future__ import annotations

import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from mls.analysis.intervals import Estimate
from mls.report.plots.series import Facet

MOST_TICKS = 12
LONG_BAR = 3
"""A bar beyond this many times the greatest value is cut off, and a note says so."""


def bars(values: list[Estimate]) -> list[list[float]]:
    """Lengths of the bars below and above the values: 0 without an interval, none beyond 0."""
    below = [v.value - max(v.low, 0.0) if v.low is not None else 0.0 for v in values]
    above = [v.high - v.value if v.high is not None else 0.0 for v in values]
    return [below, above]


def places_of(facet: Facet, x: str) -> dict[str, float]:
    """Value of the x axis as text → its position: the number itself, or the rank of a word."""
    values = {str(c.cell[x]): c.cell[x] for series in facet.series for c in series.cells}
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.values()):
        return {text: float(value) for text, value in values.items()}
    return {text: float(place) for place, text in enumerate(values)}


def x_axis(axes: Axes, x: str, places: dict[str, float]) -> None:
    """Scale and mark the x axis: logarithmic where values reach far. places: of `places_of`."""
    low, high = min(places.values()), max(places.values())
    logarithmic = low > 0 and high / low >= 4
    if logarithmic:
        axes.set_xscale("log", base=2)
    ticks = ticks_apart([*places.items()], math.log if logarithmic else float)
    axes.set_xticks([place for _, place in ticks], [text for text, _ in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(x)
    if low == high:  # a single cell: no axis to speak of, but a point in the middle
        axes.set_xlim(low - 1 if low - 1 > 0 else low / 2, high + 1)


def ticks_apart(
    places: list[tuple[str, float]], scale: Callable[[float], float]
) -> list[tuple[str, float]]:
    """The ticks whose texts don't overlap, with the first and the last of them."""
    ascending = sorted(places, key=lambda one: one[1])
    first, last = ascending[0], ascending[-1]
    least = (scale(last[1]) - scale(first[1])) / MOST_TICKS
    ticks = [first]
    for one in ascending[1:-1]:
        far = scale(one[1]) - scale(ticks[-1][1]), scale(last[1]) - scale(one[1])
        if min(far) >= least:
            ticks.append(one)
    return ticks if last == first else [*ticks, last]


def axis_end(values: list[Estimate]) -> tuple[float, bool]:
    """(end of an axis from 0 for the values, whether it cuts off bars).

    The interval of two repeats that differ can be many times its value; on an axis that long the
    value would be a dot at 0.
    """
    greatest = max(value.value for value in values)
    longest = max(value.value if value.high is None else value.high for value in values)
    end = min(longest, LONG_BAR * greatest)
    return (end * 1.07 if end > 0 else 1.0), longest > end
