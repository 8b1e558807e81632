"""The JSON bodies of workloads whose requests differ in more than one text."""

from __future__ import annotations

from typing import Any

import orjson

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.load.workload.builder import Prompt, Prompts
from mls.protocol.body import body_fields, length_fields, messages_of, prompt_field, with_extra
from mls.protocol.content import Messages
from mls.protocol.request import Attributes


class WorkloadBodies:
    """See `request.Bodies`. A conversation's history is kept under the job of its next turn."""

    def __init__(self, run: Run, workload: Workload, served_as: str | None, prompts: Prompts):
        """prompts: job → prompt."""
        self._run = run
        self._prompts = prompts
        self._fields = body_fields(run, served_as)
        self._turns = workload.turns_apart or 1
        self._history: dict[int, Messages] = {}
        # kept for each prompt, since making one again costs as much as it did under load
        self._facts: dict[int, tuple[str, str, Attributes]] = {}

    def body(self, job: int) -> bytes:
        prompt = self._prompts(job)
        self._facts[job] = prompt.sha256, prompt.opening, prompt.attributes
        field = prompt_field(
            self._run, prompt.text, prompt.system, self._messages(job, prompt) or prompt.messages
        )
        fields: dict[str, Any] = self._fields
        if prompt.attributes.output_tokens is not None:
            lengths = length_fields(self._run, prompt.attributes.output_tokens)
            fields = with_extra(self._run, self._fields | lengths)
        return orjson.dumps(fields | field)

    def prompt_sha256(self, job: int) -> str:
        return self._facts_of(job)[0]

    def attributes(self, job: int) -> Attributes:
        return self._facts_of(job)[2]

    def opening(self, job: int) -> str:
        return self._facts_of(job)[1]

    def next_turn(self, job: int, reply: str) -> int | None:
        """The job of the conversation's next turn, after this reply; None after the last turn."""
        if job < 0 or job % self._turns == self._turns - 1:
            return None
        prompt = self._prompts(job)
        messages = messages_of(prompt.text, prompt.system, self._messages(job, prompt))
        self._history.pop(job, None)
        self._history[job + 1] = [*messages, {"role": "assistant", "content": reply}]
        return job + 1

    def _messages(self, job: int, prompt: Prompt) -> Messages | None:
        """All that was said in a conversation, to this prompt; None at its beginning."""
        history = self._history.get(job)
        return [*history, {"role": "user", "content": prompt.text}] if history else None

    def _facts_of(self, job: int) -> tuple[str, str, Attributes]:
        if job not in self._facts:  # its request was never built
            self.body(job)
        return self._facts[job]
