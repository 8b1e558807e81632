"""The JSON bodies of workloads whose requests differ in more than one text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from mls.config.sections.run import Run
from mls.load.workload.builder import Prompt, Prompts
from mls.protocol.body import body_fields, length_fields, messages_of, prompt_field, with_extra
from mls.protocol.content import Messages
from mls.protocol.request import Attributes


@dataclass(frozen=True, slots=True)
class NextTurn:
    """The job of a conversation's next turn, and the pause before it, where the dataset has one."""

    job: int
    delay_s: float | None


class WorkloadBodies:
    """See `request.Bodies`. A conversation's history is kept under the job of its next turn."""

    def __init__(self, run: Run, served_as: str | None, prompts: Prompts):
        """prompts: job → prompt."""
        self._run = run
        self._prompts = prompts
        self._fields = body_fields(run, served_as)
        self._history: dict[int, Messages] = {}
        # kept for each prompt, since making one again costs as much as it did under load
        self._facts: dict[int, tuple[str, str, Attributes]] = {}

    def body(self, job: int) -> bytes:
        prompt = self._prompts(job)
        self._facts[job] = prompt.sha256, prompt.opening, prompt.attributes
        field = prompt_field(self._run, prompt.text, prompt.system, self._messages(job, prompt))
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

    def next_turn(self, job: int, reply: str) -> NextTurn | None:
        """The conversation's (session's) next turn, after this reply; None after the last turn."""
        prompt = self._prompts(job)
        if not prompt.goes_on:
            self._history.pop(job, None)
            return None
        if prompt.whole:
            return NextTurn(job + 1, prompt.delay_s)
        messages = messages_of(prompt.text, prompt.system, self._messages(job, prompt))
        self._history.pop(job, None)
        said = prompt.reply or [{"role": "assistant", "content": reply}]
        self._history[job + 1] = [*messages, *said]
        return NextTurn(job + 1, prompt.delay_s)

    def _messages(self, job: int, prompt: Prompt) -> Messages | None:
        """All that was said in a conversation, to this prompt; None for the text alone."""
        if not (history := self._history.get(job)):
            return prompt.messages
        return [*history, *(prompt.messages or [{"role": "user", "content": prompt.text}])]

    def _facts_of(self, job: int) -> tuple[str, str, Attributes]:
        if job not in self._facts:  # its request was never built
            self.body(job)
        return self._facts[job]
