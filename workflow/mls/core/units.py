"""Unit conversions, so that no bare power stands in the code; durations as texts."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
MS_PER_S = 1_000
S_PER_HOUR = 3_600

MIB = 2**20

_MINUTE_S, _HOUR_MIN, _DAY_H = 60, 60, 24


def duration(seconds: float) -> str:
    """A duration for people: `45 s`, `12 min`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    minutes = round(seconds / _MINUTE_S)
    if minutes < _HOUR_MIN:
        return f"{minutes} min"
    if minutes < _DAY_H * _HOUR_MIN:
        large, small = divmod(minutes, _HOUR_MIN)
        return f"{large} h {small} min" if small else f"{large} h"
    large, small = divmod(round(minutes / _HOUR_MIN), _DAY_H)
    return f"{large} d {small} h" if small else f"{large} d"
