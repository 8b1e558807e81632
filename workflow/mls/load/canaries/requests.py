"""Requests of a load of which some are canaries."""

from __future__ import annotations

from typing import Any

import orjson

from mls.config.sections.run import Run
from mls.load.canaries.plan import CanaryPlan
from mls.load.workload.builder import Prompt
from mls.protocol.body import body_fields, length_fields, prompt_field, with_extra
from mls.protocol.request import Attributes, RequestBuilder

_SEED = 0
_TO_GO_ON = ("ignore_eos", "min_tokens")
"""Fields that keep a reply from ending."""


def canary_body(
    run: Run,
    served_as: str | None,
    prompt: Prompt,
    *,
    most_tokens: int | None = None,
    free: bool = False,
) -> dict[str, Any]:
    """The body of a canary's request: that of its neighbours, but greedy.

    most_tokens: the most that are asked for. free: whether the reply may end by itself, whatever
    the config says.
    """
    tokens = prompt.attributes.output_tokens or run.max_tokens
    lengths = length_fields(run, min(tokens, most_tokens or tokens))
    fields = with_extra(run, body_fields(run, served_as) | lengths)
    if most_tokens:  # a limit in the user's own fields is theirs
        fields |= {name: least for name, least in lengths.items() if name in fields}
    # what samples without a temperature of its own at least draws the same each time
    greedy = {"temperature": 0, "seed": run.request_extra.get("seed", _SEED)}
    fields |= {name: value for name, value in greedy.items() if value is not None}
    if free:
        fields = {name: value for name, value in fields.items() if name not in _TO_GO_ON}
    return fields | prompt_field(run, prompt.text, prompt.system, prompt.messages)


class MixedRequests(RequestBuilder):
    """A `RequestBuilder` whose canaries take the place of some jobs' own requests."""

    def __init__(
        self, plan: CanaryPlan, run: Run, *, canaries_as: str | None, **options: Any
    ) -> None:
        """canaries_as: the model's name in canaries, which have no adapter's.

        options: the other arguments of `RequestBuilder`.
        """
        super().__init__(run=run, **options)
        self._plan = plan
        self._bodies_of_canaries = [
            orjson.dumps(canary_body(run, canaries_as, prompt)) for prompt in plan.prompts
        ]

    def own_body(self, job: int) -> bytes:
        number = self._plan.number(job)
        return super().own_body(job) if number is None else self._bodies_of_canaries[number]

    def prompt_sha256(self, job: int) -> str:
        prompt = self._canary(job)
        return super().prompt_sha256(job) if prompt is None else prompt.sha256

    def opening(self, job: int) -> str:
        prompt = self._canary(job)
        return super().opening(job) if prompt is None else prompt.opening

    def attributes(self, job: int) -> Attributes:
        prompt = self._canary(job)
        return super().attributes(job) if prompt is None else prompt.attributes

    def _canary(self, job: int) -> Prompt | None:
        number = self._plan.number(job)
        return None if number is None else self._plan.prompts[number]
