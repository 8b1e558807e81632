"""The JSON bodies of workloads whose requests differ in more than one text."""

from __future__ import annotations

from typing import Any

import orjson

from mls.config.sections.run import Run
from mls.load.workload.builder import Prompt, Prompts
from mls.load.workload.conversations.turns import NextTurn
from mls.protocol.body import body_fields, length_fields, messages_of, prompt_field, with_extra
from mls.protocol.content import Messages
from mls.protocol.request import Attributes


class WorkloadBodies:
    """See `request.Bodies`. A conversation's history is kept under the job of its next turn."""

    def __init__(self, run: Run, served_as: str | None, prompts: Prompts):
        """prompts: job → prompt."""
        self._run = run
        self._prompts = prompts
        self._fields = body_fields(run, served_as)
        self._history: dict[int, Messages] = {}
        self._ends: dict[
            int, dict[int, str]
        ] = {}  # replies of branches, by the turn that joins them
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
        if prompt.tools and "tools" not in self._run.request_extra:
            field["tools"] = prompt.tools
        return orjson.dumps(fields | field)

    def prompt_sha256(self, job: int) -> str:
        return self._facts_of(job)[0]

    def attributes(self, job: int) -> Attributes:
        return self._facts_of(job)[2]

    def opening(self, job: int) -> str:
        return self._facts_of(job)[1]

    def next_turns(self, job: int, reply: str) -> list[NextTurn]:
        """The conversation's turns that waited for this reply, and wait for no other one.

        They are several where branches begin; none after a last turn, and at the end of a branch
        while others go on.
        """
        prompt = self._prompts(job)
        said: Messages = []
        if prompt.later and not prompt.whole:
            said = messages_of(prompt.text, prompt.system, self._messages(job, prompt))
            said = [*said, *(prompt.reply or [{"role": "assistant", "content": reply}])]
        self._history.pop(job, None)
        self._ends.pop(job, None)
        due = []
        for turn in prompt.later:
            if turn.previous == job:
                self._history[turn.job] = said
            else:
                self._ends.setdefault(turn.job, {})[job] = reply
            if len(self._ends.get(turn.job, ())) == len(turn.joins):
                due.append(turn)
        return due

    def _messages(self, job: int, prompt: Prompt) -> Messages | None:
        """All that was said in a conversation, to this prompt; None for the text alone."""
        if not (history := self._history.get(job)):
            return prompt.messages
        own = prompt.messages
        if own is None:
            own = [{"role": "user", "content": prompt.text}]
        if prompt.reply is None and (ends := self._ends.get(job)):
            own = _with_replies(own, [ends[each] for each in sorted(ends)])
        return [*history, *own]

    def _facts_of(self, job: int) -> tuple[str, str, Attributes]:
        if job not in self._facts:  # its request was never built
            self.body(job)
        return self._facts[job]


def _with_replies(messages: Messages, replies: list[str]) -> Messages:
    """The messages of a turn that joins branches, with these replies.

    They precede the user's words; where the user says nothing, they are a message of their own.
    """
    for place, message in enumerate(messages):
        if message["role"] == "user":
            content = "\n\n".join([*replies, message["content"]])
            return [*messages[:place], message | {"content": content}, *messages[place + 1 :]]
    return [*messages, {"role": "user", "content": "\n\n".join(replies)}]
