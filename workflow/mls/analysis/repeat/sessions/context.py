"""What of a turn's prompt had been in the conversation's context before, and was processed anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Floats, Ints, ints, succeeded, with_reasoning


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
    prompt, cached = ints(table, "prompt_tokens"), ints(table, "cached_tokens")
    completion = ints(table, "completion_tokens")
    stays = ~with_reasoning(table) if own_replies else np.zeros(table.num_rows, bool)
    earlier, later = _turns_before(table)
    ok = succeeded(table)
    known = ok[earlier] & ok[later] & prompt.valid[earlier] & prompt.valid[later]
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


def _turns_before(table: pa.Table) -> tuple[Ints, Ints]:
    """(rows of turns that others go on from, rows of these): of branches, the one they began after."""
    job, previous = ints(table, "job").values, ints(table, "previous_job")
    # earlier versions didn't write it, and gave a session's turns consecutive jobs
    before = np.where(previous.valid, previous.values, job - 1)
    later = np.flatnonzero(ints(table, "session").valid & (ints(table, "turn").values > 0))
    order = np.argsort(job)
    places = np.searchsorted(job, before[later], sorter=order)
    earlier = order[np.minimum(places, len(order) - 1)]
    is_there = job[earlier] == before[later]
    return earlier[is_there], later[is_there]
