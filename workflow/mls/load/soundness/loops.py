"""Loops: stretches of a text that repeat one unit, as a model does that can't find its end."""

from __future__ import annotations

from typing import NamedTuple

LEAST_UNITS = 3
"""The least number of units that make a loop."""

LEAST_CHARACTERS = 48
"""The least length of a loop: a ruler of dashes or an indentation is none."""

_ANCHORS = 16
_KEY = 16
_TRIES = 8


class Loop(NamedTuple):
    """The characters `start … start + length` of a text, which repeat their first `period`."""

    start: int
    period: int
    length: int


NO_LOOP = Loop(0, 0, 0)


def longest_loop(text: str) -> Loop:
    """The longest loop that passes one of 16 evenly spaced anchors; `NO_LOOP` without one.

    A loop that is longer than a sixteenth of the text and two units passes an anchor far enough
    from its end. Only a unit that itself holds the same 16 characters more than 8 times may be
    missed. All work on characters is done by the interpreter's own search and comparison, in time
    that grows hardly faster than the text.
    """
    size = len(text)
    best = NO_LOOP
    if size < LEAST_CHARACTERS:
        return best
    for anchor in range(0, size - _KEY, max(1, size // _ANCHORS)):
        if anchor < best.start + best.length - _KEY and best.length > size // 2:
            continue
        loop = _loop_at(text, anchor)
        if loop.length > best.length:
            best = loop
    return best


def _loop_at(text: str, anchor: int) -> Loop:
    """The longest loop around an anchor. Its period is a distance at which the text recurs."""
    key = text[anchor : anchor + _KEY]
    last = anchor + len(text) // LEAST_UNITS + _KEY
    best = NO_LOOP
    at = anchor
    for _ in range(_TRIES):
        at = text.find(key, at + 1, last)
        if at < 0:
            break
        period = at - anchor
        if text[at : at + period] != text[anchor:at] or at + period > len(text):
            continue
        start, end = _begin(text, anchor, period), _end(text, anchor, period)
        length = end - start
        if length >= max(LEAST_CHARACTERS, LEAST_UNITS * period) and length > best.length:
            best = Loop(start, period, length)
        at = max(at, end - _KEY)  # Within the loop the key recurs by the same unit
    return best


def _end(text: str, anchor: int, period: int) -> int:
    """The end of the stretch from the anchor on that recurs at this distance."""
    low, high = anchor + period, len(text) - period
    while low < high:  # The stretch anchor … low recurs, anchor … high + 1 does not
        middle = (low + high + 1) // 2
        if text[anchor:middle] == text[anchor + period : middle + period]:
            low = middle
        else:
            high = middle - 1
    return low + period


def _begin(text: str, anchor: int, period: int) -> int:
    """The beginning of the stretch before the anchor that recurs at this distance."""
    low, high = 0, anchor
    while low < high:
        middle = (low + high) // 2
        if text[middle:anchor] == text[middle + period : anchor + period]:
            high = middle
        else:
            low = middle + 1
    return low
