"""What of a turn's prompt had been in the conversation's context before, and was processed anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Floats, ints, succeeded, with_reasoning


@dataclass(frozen=True)
class Context:
    """Tokens of each request's prompt, NaN where unknown, and of first turns.

    before: had been in the context before. anew: of these, what the server processed once more.
    """

    before: Floats
    anew: Floats


def context(table: pa.Table, own_replies: bool) -> Context:
    """own_replies: whether later turns hold the server's own replies.

    The context before is the prompt of the turn before and, where it stays, the reply to it. A
    reply with reasoning counts as none of it, as thoughts are not sent again. Of a trace's blocks it
    is what an ideal cache has.
    """
    session, turn = ints(table, "session"), ints(table, "turn")
    prompt, cached = ints(table, "prompt_tokens"), ints(table, "cached_tokens")
    completion = ints(table, "completion_tokens")
    stays = ~with_reasoning(table) if own_replies else np.zeros(table.num_rows, bool)
    rows = np.flatnonzero(session.valid & turn.valid)
    rows = rows[np.lexsort((turn.values[rows], session.values[rows]))]
    earlier, later = rows[:-1], rows[1:]
    follows = session.values[later] == session.values[earlier]
    follows &= turn.values[later] == turn.values[earlier] + 1
    ok = succeeded(table)
    known = follows & ok[earlier] & ok[later] & prompt.valid[earlier] & prompt.valid[later]
    known &= completion.valid[earlier] | ~stays[earlier]
    said = np.where(stays, completion.values, 0)
    tokens = np.minimum(prompt.values[earlier] + said[earlier], prompt.values[later])
    if (ideal := ints(table, "ideal_cached_tokens")).valid.any():
        tokens = ideal.values[later]
    before, anew = (np.full(table.num_rows, np.nan) for _ in range(2))
    before[later[known]] = tokens[known]
    known &= cached.valid[later]
    anew[later[known]] = np.maximum(tokens - cached.values[later], 0)[known]
    return Context(before, anew)
