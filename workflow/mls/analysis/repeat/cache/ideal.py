"""The prompt tokens that an ideal cache has of each request, as far as the workload itself knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Bools, Floats, Ints, ints, succeeded, with_reasoning
from mls.analysis.repeat.sessions.context import context
from mls.config.sections.workload import Workload
from mls.core.run_result import Template

_TEMPLATE_END = 8
"""Tokens at a prompt's end with which a template begins a reply, and which it may write otherwise
once the reply is there."""
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class IdealCache:
    """Tokens of each request's prompt, NaN where unknown.

    tokens: an ideal cache has these. due: of them those that it has whatever else is in flight, and
    however the server makes tokens of a reply's text. most: no cache has more, unless it knew
    prompts before the run; inf where that can't be told.
    """

    tokens: Floats
    due: Floats
    most: Floats


def ideal_cache(table: pa.Table, workload: Workload, template: Template) -> IdealCache | None:
    """None where the workload doesn't know what prompts share. docs/METHODS.md defines it."""
    of_blocks = ints(table, "ideal_cached_tokens")
    if of_blocks.valid.any():
        tokens = np.where(of_blocks.valid, of_blocks.values, np.nan)
        return IdealCache(tokens, tokens, tokens)
    if workload.kind == "shared_prefix":
        return _prefixes(table, workload.prefix_tokens, template)
    if workload.kind == "depth":
        known = np.ones(table.num_rows, bool)  # by the warm-up
        return _beginnings(table, known, known, known, workload.depth, template)
    if workload.converses:
        return _conversations(table, workload, template)
    return None


def _prefixes(table: pa.Table, prefix: int, template: Template) -> IdealCache:
    """Prompts of a group share its prefix, those of one adapter their keys and values, too."""
    group = ints(table, "prefix_group").values
    own = group << 32 | ints(table, "adapter").values
    start, first = ints(table, "start_ns").values, ints(table, "first_chunk_ns")
    read = np.where(first.valid, first.values, ints(table, "end_ns").values)
    order = np.lexsort((ints(table, "job").values, start))
    later = _later(group, order)
    # the first one may have the prefix of another that was sent while it was still being read
    second = _least(group, np.where(later, start, _NEVER))
    possible = later | (second < read)
    # what those had that can't have a prefix is the template's, before the user's text
    cached = ints(table, "cached_tokens")
    before = int(cached.values[cached.valid & ~possible].max(initial=0))
    return _beginnings(
        table,
        _later(own, order),
        _least(own, np.where(succeeded(table), read, _NEVER)) <= start,
        possible,
        prefix,
        template,
        before,
    )


def _later(keys: Ints, order: Ints) -> Bools:
    """Whether another one with the same key comes before each, in this order."""
    later = np.ones(len(keys), bool)
    later[order[np.unique(keys[order], return_index=True)[1]]] = False
    return later


def _least(keys: Ints, values: Ints) -> Ints:
    """The least value among those with the same key, for each."""
    _, place = np.unique(keys, return_inverse=True)
    least = np.full(int(place.max(initial=-1)) + 1, _NEVER)
    np.minimum.at(least, place, values)
    return least[place]


def _beginnings(
    table: pa.Table,
    ideal: Bools,
    due: Bools,
    possible: Bools,
    shared: int,
    template: Template,
    before: int = 0,
) -> IdealCache:
    """Where each holds, the first `shared` tokens of the user's text are in the cache.

    The template's tokens count as ones before it, which any prompt has; of them `before` are so for
    sure. Unknown for prompts of other lengths than asked for.
    """
    prompt, asked = ints(table, "prompt_tokens"), ints(table, "prompt_tokens_asked")
    exact = prompt.valid & asked.valid & (prompt.values == asked.values)
    most_shared = np.maximum(prompt.values - 1, 0)
    around = template.tokens or 0

    def tokens(rows: Bools, template_tokens: int | Ints) -> Floats:
        known = np.minimum(template_tokens + shared * rows, most_shared)
        return np.where(exact, known, np.nan)

    return IdealCache(
        tokens(ideal, around),
        tokens(due, before * due),
        np.full(table.num_rows, np.inf) if template.tokens is None else tokens(possible, around),
    )


def _conversations(table: pa.Table, workload: Workload, template: Template) -> IdealCache:
    """Later turns share the context before: the prompt before and the reply to it, as it stays.

    The reply's last token has never been processed. What the reply's text is in tokens is the
    server's own matter, so it isn't due. Conversations of a file may share more than is known here.
    """
    prompt, turn = ints(table, "prompt_tokens"), ints(table, "turn")
    first = turn.valid & (turn.values == 0)
    most_shared = np.where(prompt.valid, prompt.values - 1.0, np.nan)
    asked, whole = (context(table, own).before for own in (False, True))
    said = context(table, workload.own_replies).before
    due = np.minimum(np.maximum(asked - _TEMPLATE_END, 0), most_shared)
    tokens = np.minimum(np.maximum(asked, said - 1), most_shared)
    if template.keeps_history is False:
        tokens = due = np.full(table.num_rows, np.nan)
    tokens, due = np.where(first, template.tokens or 0, tokens), np.where(first, 0, due)
    most = np.where(first, np.nan if template.tokens is None else template.tokens, whole)
    unknown = np.isnan(most) | bool(workload.file or with_reasoning(table).any())
    return IdealCache(tokens, due, np.where(unknown, np.inf, most))
