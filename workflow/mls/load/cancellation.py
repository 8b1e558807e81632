"""Which requests the client hangs up on, and when: by seed and job alone, so alike on any ranks."""

from __future__ import annotations

import random

from mls.config.sections.run import Cancel
from mls.core.units import NS_PER_S
from mls.load.canaries.plan import CanaryPlan
from mls.load.workload.conversations.pauses import duration_s

CANCELLED_TEXT = "the client hung up, as run.cancel says"


class Cancellations:
    """The requests of a run that are cancelled. canaries: of its load, which are never cancelled."""

    def __init__(self, cancel: Cancel, seed: int, canaries: CanaryPlan | None = None) -> None:
        self._share = cancel.share
        self._after_s = cancel.after_s
        self._seed = seed
        self._canaries = canaries

    def after_ns(self, job: int) -> int | None:
        """The time from this request's start to the hanging up; None where it isn't cancelled."""
        if job < 0 or (self._canaries and self._canaries.number(job) is not None):
            return None
        source = random.Random(f"{self._seed}/{job}/cancel")
        if source.random() >= self._share:
            return None
        return int(duration_s(self._after_s, source.random()) * NS_PER_S)
