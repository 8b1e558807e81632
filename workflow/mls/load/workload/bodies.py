"""The JSON bodies of workloads whose requests differ in more than a text."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.load.workload.builder import Prompts
from mls.protocol.request import Asked, body_fields, completed, length_fields, prompt_field


class WorkloadBodies:
    """See `request.Bodies`. Conversations keep what was said, by the job of the turn to come."""

    def __init__(self, run: Run, workload: Workload, served_as: str | None, prompts: Prompts):
        """prompts: job → what its request says."""
        self._run = run
        self._prompts = prompts
        self._fields = body_fields(run, served_as)
        self._turns = workload.turns_apart or 1
        self._said: dict[int, list[dict[str, str]]] = {}
        # of each prompt that was made: to make one again costs as much as it did under load
        self._facts: dict[int, tuple[str, Asked]] = {}

    def body(self, job: int) -> bytes:
        said = self._prompts(job)
        self._facts[job] = hashlib.sha256(said.text.encode()).hexdigest(), said.asked
        field = prompt_field(self._run, said.text, said.system, said.messages)
        before = self._said.get(job)
        if before:
            field["messages"] = [*before, {"role": "user", "content": said.text}]
        fields: dict[str, Any] = self._fields
        if said.asked.output_tokens is not None:
            lengths = length_fields(self._run, said.asked.output_tokens)
            fields = completed(self._run, self._fields | lengths)
        return orjson.dumps(fields | field)

    def prompt_sha256(self, job: int) -> str:
        return self._facts_of(job)[0]

    def asked(self, job: int) -> Asked:
        return self._facts_of(job)[1]

    def next_turn(self, job: int, reply: str) -> int | None:
        """The job that goes on with the conversation after this reply; None when it is over."""
        if job < 0 or job % self._turns == self._turns - 1:
            return None
        before: list[dict[str, str]] = orjson.loads(self.body(job))["messages"]
        self._said.pop(job, None)
        self._said[job + 1] = [*before, {"role": "assistant", "content": reply}]
        return job + 1

    def _facts_of(self, job: int) -> tuple[str, Asked]:
        if job not in self._facts:  # its request was never built
            self.body(job)
        return self._facts[job]
