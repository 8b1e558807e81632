"""How many samples a statement needs."""

from __future__ import annotations

import math

import numpy as np

from mls.analysis.repeat.columns import ints
from mls.analysis.repeat.evidence import Evidence

CONFIDENCE = 0.95

MISS = 0.05
"""The probability with which a check may pass a fault of twice its threshold."""


def least_samples(percentile: float) -> int:
    """The number of samples whose greatest lies above the percentile with 95 % confidence.

    It is the least n with 1 − q^n ≥ 0.95 (Wilks, Annals of Mathematical Statistics 12, 1941): 5 for
    p50, 29 for p90, 59 for p95, 299 for p99. With fewer, no sample at all may lie above it.
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(percentile / 100))


def unseen_share(samples: int) -> float:
    """The largest share, with 95 % confidence, of an event that none of this many samples shows."""
    return 1.0 - (1 - CONFIDENCE) ** (1 / samples)


def longer(requests: int, evidence: Evidence) -> str:
    """Advice to measure about this many requests, in terms of config keys."""
    units = math.ceil(requests / _requests_each(evidence))
    if evidence.load.open:
        return f"measure about {_round_up(units)} arrivals (run.iters or run.duration_s)"
    rounds = _round_up(math.ceil(units / evidence.run.inflight))
    return f"measure about {rounds} rounds (run.rounds, or a longer run.duration_s)"


def _requests_each(evidence: Evidence) -> float:
    """The requests of one of the units that `run` counts: 1, or those of a conversation (session).

    A file's conversations have as many turns as they have: those of the run say how many on average.
    """
    workload = evidence.workload
    if not workload.in_sessions:
        return 1
    if workload.turns_apart:
        return workload.turns_apart
    session = ints(evidence.table, "session")
    conversations = len(np.unique(session.values[session.valid]))
    return session.valid.sum() / conversations if conversations else 1


def _round_up(count: int) -> int:
    """The count, rounded up to two significant digits: its inputs are no more precise."""
    step = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step
