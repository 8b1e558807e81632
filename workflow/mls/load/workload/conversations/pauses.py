"""The pauses between a reply and a place's next request: by seed and job, so alike on any ranks."""

from __future__ import annotations

import random

from mls.config.sections.workload import Durations
from mls.core.units import NS_PER_S
from mls.load.workload.builder import lognormal, standard_normal


class Pauses:
    """The pause after each job: the think time of a user, or the time that a tool takes."""

    def __init__(self, durations: Durations, seed: int) -> None:
        self._durations = durations
        self._seed = seed

    def after_ns(self, job: int, recorded_s: float | None = None) -> int:
        """recorded_s: a dataset's pause, which takes the place of the drawn one."""
        if recorded_s is None:
            recorded_s = duration_s(
                self._durations, random.Random(f"{self._seed}/{job}/pause").random()
            )
        return int(recorded_s * NS_PER_S)


def duration_s(durations: Durations, u: float) -> float:
    """The duration in seconds that a random number `u` of [0, 1) draws."""
    if durations.distribution == "fixed":
        return durations.value or 0.0
    if durations.distribution == "empirical":
        return durations.values[int(u * len(durations.values))]
    if durations.distribution == "uniform":
        assert durations.max is not None
        return durations.min + u * (durations.max - durations.min)
    assert durations.mean is not None and durations.std is not None
    value = lognormal(durations.mean, durations.std, standard_normal(u))
    most = value if durations.max is None else durations.max
    return min(max(value, durations.min), most)
