"""The check that a slot's context is enough for the lengths in a trace or a dataset.

All other lengths are in the config. `server.fit` checks these when the server is probed.
"""

from __future__ import annotations

import numpy as np

from mls.config.settings import Settings
from mls.core.errors import UserError
from mls.load.workload.conversations.turns import Dialogue
from mls.load.workload.datasets import Row
from mls.load.workload.traces import Trace
from mls.server.api import ServerApi
from mls.server.state import snapshot

_QUOTED = 40  # characters of a prompt


def check_files(
    settings: Settings,
    trace: Trace | None,
    rows: list[Row] | None,
    dialogues: list[Dialogue] | None,
    api: ServerApi,
) -> None:
    """Raise `UserError` for a request that doesn't fit into a slot of the server.

    Tokens of the chat template, of images and of audio aren't counted, so a request that passes may
    be too long.
    """
    if trace is None and rows is None and dialogues is None:
        return
    context = snapshot(api)["ctx_per_slot"]
    if context is None:
        return
    if trace is not None:
        _check_trace(settings, trace, context)
    if rows is not None:
        _check_rows(settings, rows, context, api)
    if dialogues is not None:
        _check_dialogues(settings, dialogues, context, api)


def _check_trace(settings: Settings, trace: Trace, context: int) -> None:
    workload = settings.workload
    most_prompt, most_reply = workload.longest(settings.run.max_tokens)
    prompt, reply = most_prompt or 0, 0 if settings.run.embeds else most_reply
    prompts, replies = np.full(len(trace.at_s), prompt), np.full(len(trace.at_s), reply)
    if workload.in_tokens and most_prompt is None and trace.prompt_tokens is not None:
        prompts = trace.prompt_tokens
    lengths = workload.output_tokens
    if lengths and lengths.greatest is None and trace.output_tokens is not None:
        replies = trace.output_tokens
    worst = int((prompts + replies).argmax())
    needs = int(prompts[worst] + replies[worst])
    if needs > context:
        prompt_words = f"a prompt of {prompts[worst]} and " if prompts[worst] else ""
        key, file = ("load.file", settings.load.file)
        how = "leave such rows out"
        if trace.sessions:
            key, file, how = "workload.file", workload.file, "set workload.max_prompt_tokens"
        raise UserError(
            f"{key}: row {trace.row[worst]} of {file} needs {needs} tokens "
            f"({prompt_words}a reply of {replies[worst]}), and a slot has {context}; "
            f"raise the context, or {how}."
        )


def _check_rows(settings: Settings, rows: list[Row], context: int, api: ServerApi) -> None:
    lengths = settings.workload.output_tokens
    usual = (lengths.greatest or 0) if lengths else settings.run.max_tokens
    for row in rows:
        reply = 0 if settings.run.embeds else row.output_tokens or usual
        if len(row.text.encode()) + reply <= context:  # no token is shorter than a byte
            continue
        tokens = api.tokenize(row.text)
        if tokens is None:
            return
        if tokens + reply > context:
            raise UserError(
                f"workload.file: {settings.workload.file} has a prompt of {tokens} tokens "
                f"({row.text[:_QUOTED]!r}…), which with a reply of {reply} needs {tokens + reply}, "
                f"and a slot has {context}; raise the context, or set workload.max_prompt_tokens."
            )


def _check_dialogues(
    settings: Settings, dialogues: list[Dialogue], context: int, api: ServerApi
) -> None:
    _, usual = settings.workload.longest(settings.run.max_tokens)
    own = settings.workload.history == "own"
    for dialogue in dialogues:
        for ending in dialogue.endings:
            text, replies = ending.text, ending.replies if own else 1
            reply = ending.output_tokens or usual
            if len(text.encode()) + replies * reply <= context:  # no token is shorter than a byte
                continue
            tokens = api.tokenize(text)
            if tokens is None:
                return
            if tokens + replies * reply > context:
                raise UserError(
                    f"workload.file: row {dialogue.row} of {settings.workload.file} has a "
                    f"conversation of {tokens} tokens, which with {replies} × {reply} of replies "
                    f"needs {tokens + replies * reply}, and a slot has {context}; raise the context, "
                    "or set workload.max_prompt_tokens."
                )
