"""Which adapter a request asks for: by seed and job alone, so alike on any ranks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import orjson

from mls.config.sections.run import Adapter
from mls.load.canaries.plan import CanaryPlan


class Adapters:
    """The adapters of a run's requests; the turns of a conversation have the same one.

    turns: requests of each conversation. served_as: the model's name for adapters without one.
    canaries: of the load, which have none: alone they were asked without.
    """

    def __init__(
        self,
        adapters: Sequence[Adapter],
        seed: int,
        turns: int,
        served_as: str | None,
        canaries: CanaryPlan | None = None,
    ) -> None:
        self._bounds = list(accumulate(adapter.weight for adapter in adapters))
        self._seed = seed
        self._turns = turns
        self._canaries = canaries
        self.names_models = any(adapter.model for adapter in adapters)
        """Whether each request names the model of its adapter."""
        own = served_as if self.names_models else None
        self._fields = [_fields(adapter, own) for adapter in adapters]

    def number(self, job: int) -> int | None:
        """The adapter of a job, by its place in the config's list; None of a canary."""
        if self._canaries and self._canaries.number(job) is not None:
            return None
        # not by `choices`, whose use of the stream may change
        point = random.Random(f"{self._seed}/{job // self._turns}/adapter").random()
        within = (place for place, end in enumerate(self._bounds) if point * self._bounds[-1] < end)
        return next(within, len(self._bounds) - 1)

    def fields(self, job: int) -> bytes:
        """The fields of a job's body that ask for its adapter, as JSON without its braces."""
        number = self.number(job)
        return b"" if number is None else self._fields[number]


def _fields(adapter: Adapter, served_as: str | None) -> bytes:
    model = adapter.model or served_as
    fields: dict[str, Any] = {"model": model} if model else {}
    if adapter.lora is not None:
        fields["lora"] = [each.model_dump() for each in adapter.lora]
    return orjson.dumps(fields)[1:-1]
