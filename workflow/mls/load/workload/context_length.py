"""Whether a slot's context is enough for lengths that only a file knows: a trace's, a dataset's.

All other lengths are in the config, and `server.fit` has checked them when the server was probed.
"""

from __future__ import annotations

import numpy as np

from mls.config.cells import Settings
from mls.core.errors import UserError
from mls.load.workload.datasets import Row
from mls.load.workload.traces import Trace
from mls.server.api import ServerApi
from mls.server.probe import snapshot

_QUOTED = 40  # characters of a prompt


def check_files(
    given: Settings, trace: Trace | None, rows: list[Row] | None, api: ServerApi
) -> None:
    """Raise `UserError` for a request that can't fit into a slot of the server.

    A chat template's own tokens aren't counted, so what passes may still be a few tokens too long.
    """
    if trace is None and rows is None:
        return
    has = snapshot(api)["ctx_per_slot"]
    if has is None:
        return
    if trace is not None:
        _check_trace(given, trace, has)
    if rows is not None:
        _check_rows(given, rows, has, api)


def _check_trace(given: Settings, trace: Trace, has: int) -> None:
    workload = given.workload
    most_prompt, most_reply = workload.longest(given.run.max_tokens)
    prompt, reply = most_prompt or 0, 0 if given.run.embeds else most_reply
    prompts, replies = np.full(len(trace.at_s), prompt), np.full(len(trace.at_s), reply)
    if workload.in_tokens and most_prompt is None and trace.prompt_tokens is not None:
        prompts = trace.prompt_tokens
    lengths = workload.output_tokens
    if lengths and lengths.greatest is None and trace.output_tokens is not None:
        replies = trace.output_tokens
    worst = int((prompts + replies).argmax())
    needs = int(prompts[worst] + replies[worst])
    if needs > has:
        prompt_words = f"a prompt of {prompts[worst]} and " if prompts[worst] else ""
        raise UserError(
            f"load.file: row {trace.row[worst]} of {given.load.file} needs {needs} tokens "
            f"({prompt_words}a reply of {replies[worst]}), and a slot has {has}; "
            "raise the context, or leave such rows out."
        )


def _check_rows(given: Settings, rows: list[Row], has: int, api: ServerApi) -> None:
    lengths = given.workload.output_tokens
    usual = (lengths.greatest or 0) if lengths else given.run.max_tokens
    for row in rows:
        reply = 0 if given.run.embeds else row.output_tokens or usual
        if len(row.text.encode()) + reply <= has:  # no token is shorter than a byte
            continue
        tokens = api.tokenize(row.text)
        if tokens is None:
            return
        if tokens + reply > has:
            raise UserError(
                f"workload.file: {given.workload.file} has a prompt of {tokens} tokens "
                f"({row.text[:_QUOTED]!r}…), which with a reply of {reply} needs {tokens + reply}, and "
                f"a slot has {has}; raise the context, or set workload.max_prompt_tokens."
            )
