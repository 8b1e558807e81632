"""Whether the chat template leaves what was said before as it was."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

from mls.config.sections.run import Run
from mls.load.workload.conversations.turns import Dialogue, Turn
from mls.protocol.body import messages_of
from mls.protocol.content import Messages
from mls.server.api import ServerApi

_DIALOGUES, _TURNS = 3, 6
"""Conversations of a file that are tried, and turns of each."""
_TEMPLATE_END = {str: 64, list: 8}
"""Characters or tokens with which a template may begin a reply, and which it may write otherwise
once the reply is there."""
_FIELDS = ("tools", "chat_template_kwargs")
"""Fields of a chat that a template reads."""
_TEXT = "The quick brown fox jumps over the lazy dog. " * 4
_REPLY: Messages = [{"role": "assistant", "content": "The dog sleeps."}]
_BUILT_IN = Dialogue(0, (Turn([{"role": "user", "content": _TEXT}], _REPLY),) * 3)

Rendering = str | list[int]


def keeps_history(
    api: ServerApi,
    run: Run,
    system: str | None,
    served_as: str | None,
    dialogues: Sequence[Dialogue] | None,
) -> bool | None:
    """Whether each turn's prompt begins with that of the turn before; None where nobody can tell.

    dialogues: of a file; None for the built-in conversations. llama.cpp's `/apply-template` is
    asked, or vLLM's `/tokenize`.
    """
    if not run.chats:
        return None
    extra = {key: run.request_extra[key] for key in _FIELDS if key in run.request_extra}

    def render(dialogue: Dialogue, messages: Messages) -> Rendering | None:
        own = {"tools": dialogue.tools} if dialogue.tools else {}
        fields = own | extra if run.api == "chat" else {}
        whole = messages_of("", system, messages)
        text = api.apply_template(whole, fields)
        return api.message_tokens(whole, served_as, fields) if text is None else text

    several = [each for each in dialogues or (_BUILT_IN,) if len(each.turns) > 1]
    for dialogue in several[:_DIALOGUES]:
        kept = _keeps(dialogue.turns[:_TURNS], partial(render, dialogue))
        if not kept:
            return kept
    return True


def _keeps(turns: Sequence[Turn], render: Callable[[Messages], Rendering | None]) -> bool | None:
    prompts: list[Rendering] = []
    said: Messages = []
    for turn in turns:
        said = [*said, *turn.messages]
        prompt = render(said)
        if prompt is None:
            return None
        prompts.append(prompt)
        said = [*said, *(turn.reply or _REPLY)]
    for before, after in itertools.pairwise(prompts):
        kept = max(0, len(before) - _TEMPLATE_END[type(before)])
        if before[:kept] != after[:kept]:
            return False
    return True
