"""Counts of differences with their bounds, exact and without the import of scipy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

CHANCE = 0.05
"""The share of cases in which a bound, or a verdict by it, is wrong by chance."""

_PRECISION = 1e-9


class Count(NamedTuple):
    """So many events in so many trials, each of which might have been one."""

    events: int
    trials: int

    @property
    def share(self) -> float:
        return self.events / self.trials if self.trials else 0.0

    @property
    def least(self) -> float:
        """The lower bound of the share that the events are of (Clopper and Pearson, one-sided)."""
        if not self.events:
            return 0.0
        return _root(lambda share: CHANCE - _at_least(self.events, self.trials, share))

    @property
    def most(self) -> float:
        """The upper bound, likewise."""
        if self.events == self.trials:
            return 1.0
        return _root(lambda share: _at_least(self.events + 1, self.trials, share) - 1 + CHANCE)

    def beyond(self, other: Count, tests: int = 1) -> bool:
        """Whether its share is larger than the other's, by more than chance.

        The test is exact for rare events: given all of them, each is here by the share of trials.
        tests: how many such tests there are, of which none may be positive by chance (Bonferroni).
        """
        trials = self.trials + other.trials
        events = self.events + other.events
        chance = CHANCE / tests
        return bool(trials) and _at_least(self.events, events, self.trials / trials) <= chance


def compared(differs: Sequence[bool], tokens: Sequence[float]) -> Count:
    """First differences, of the tokens that were compared until then."""
    return Count(sum(differs), round(sum(tokens)) + sum(differs))


def trials_for(share: float) -> int:
    """The trials without an event that exclude this share."""
    return math.ceil(math.log(CHANCE) / math.log1p(-share)) if 0 < share < 1 else 1


def _at_least(events: int, trials: int, share: float) -> float:
    """Probability of at least so many events, each trial being one with this probability."""
    if events <= 0:
        return 1.0
    if share <= 0 or share >= 1:
        return float(share >= 1)
    total = 0.0
    for count in range(events):
        log = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
        total += math.exp(log + count * math.log(share) + (trials - count) * math.log1p(-share))
    return max(0.0, 1.0 - total)


def _root(excess: Callable[[float], float]) -> float:
    """The share at which a function that goes down, or up, through zero does so."""
    low, high = 0.0, 1.0
    rises = excess(high) > excess(low)
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if (excess(middle) > 0) == rises:
            high = middle
        else:
            low = middle
    return (low + high) / 2
