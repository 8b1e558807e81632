"""The arrivals of an open loop, fixed before the run by the seed alone.

Each process is a renewal process of rate 1. The inverse of the cumulative rate brings it to the
rate of the config (the time-rescaling theorem; Brown et al., Neural Computation 14, 2002). Random
numbers come from numpy's legacy `RandomState`, whose streams never change (NEP 19).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mls.config.sections.load import Arrivals, Load, Stage
from mls.core.units import NS_PER_S
from mls.load.workload.traces import Trace

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """The arrivals of one run, one entry a job.

    at_ns: time since the common start, never falling. stage: number of the job's stage, 0 where
    there are no stages.
    """

    at_ns: Ints
    stage: Ints

    def __len__(self) -> int:
        return len(self.at_ns)

    def share(self, worker: int, workers: int) -> Ints:
        """The jobs of one worker: every `workers`-th, so that all workers make up the process."""
        return np.arange(worker, len(self.at_ns), workers)


def schedule(
    load: Load, seed: int, requests: int | None, duration_s: float | None, trace: Trace | None
) -> Schedule:
    """All arrivals of an open loop, the same on every rank.

    requests, duration_s: the number of arrivals or the time in s after which they end; with stages
    or a trace both may be None. trace: the content of `load.file`, with kind `trace`.
    """
    if load.kind == "stages":
        return _stages(load.stages, seed)
    if load.kind == "trace":
        assert trace is not None
        at_s = trace.at_s / load.speed
    else:
        at_s = _arrivals(load.kind, load, seed, 0, requests, duration_s)
    if duration_s is not None:
        at_s = at_s[at_s < duration_s]
    if requests is not None:
        at_s = at_s[:requests]
    return Schedule(_ns(at_s), np.zeros(len(at_s), np.int64))


def _stages(stages: list[Stage], seed: int) -> Schedule:
    begin_s = 0.0
    times, numbers = [np.empty(0)], [np.empty(0, np.int64)]
    for number, stage in enumerate(stages):
        at_s = _arrivals(stage.kind, stage, seed, number, None, stage.duration_s, stage.rate_to)
        times.append(begin_s + at_s)
        numbers.append(np.full(len(at_s), number, np.int64))
        begin_s += stage.duration_s
    return Schedule(_ns(np.concatenate(times)), np.concatenate(numbers))


def _arrivals(
    kind: str,
    arrivals: Arrivals,
    seed: int,
    stage: int,
    requests: int | None,
    duration_s: float | None,
    rate_to: float | None = None,
) -> Floats:
    """Times in s since the begin, ascending: those before `duration_s`, or the first `requests`."""
    if kind == "burst":
        assert arrivals.burst and arrivals.every_s
        bursts = (
            int(np.ceil(duration_s / arrivals.every_s))
            if duration_s is not None
            else -(-(requests or 0) // arrivals.burst)
        )
        at_s = np.repeat(np.arange(bursts) * arrivals.every_s, arrivals.burst)
        return at_s if requests is None else at_s[:requests]
    assert arrivals.rate
    change = (
        0.0 if rate_to is None or duration_s is None else (rate_to - arrivals.rate) / duration_s
    )
    end = None if duration_s is None else (arrivals.rate + change * duration_s / 2) * duration_s
    unit = _unit_rate(kind, arrivals.burstiness, _random(seed, stage), requests, end)
    # the inverse of ∫(rate + change·t)dt, in the form that loses no digits
    return 2 * unit / (arrivals.rate + np.sqrt(arrivals.rate**2 + 2 * change * unit))


def _unit_rate(
    kind: str,
    burstiness: float,
    random: np.random.RandomState,
    requests: int | None,
    end: float | None,
) -> Floats:
    """A renewal process of rate 1: its first `requests` arrivals, or all before `end`."""
    if kind == "constant":
        count = requests if end is None else int(np.ceil(end))
        return np.arange(count or 0, dtype=np.float64)
    shape = burstiness if kind == "gamma" else 1.0
    times = np.empty(0)
    # a stream is the same in whatever pieces it is drawn
    while end is not None and (not len(times) or times[-1] < end):
        piece = random.standard_gamma(shape, 1024) / shape
        times = np.concatenate([times, (times[-1] if len(times) else 0.0) + np.cumsum(piece)])
    if end is None:
        return np.cumsum(random.standard_gamma(shape, requests or 0) / shape)
    return times[times < end]


def _random(seed: int, stage: int) -> np.random.RandomState:
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, stage])))


def _ns(at_s: Floats) -> Ints:
    return np.round(at_s * NS_PER_S).astype(np.int64)
