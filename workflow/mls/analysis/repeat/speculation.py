"""Speculative decoding in one repeat: how much was drafted, and how much of it was accepted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mls.analysis.repeat.columns import floats, ints, succeeded, total
from mls.analysis.repeat.server_figures import ServerFigures
from mls.core.summary import Speculation


def by_requests(table: pa.Table, named: bool = False) -> Speculation:
    """Of the successful requests, by their replies' `timings`.

    llama.cpp names drafts only where a reply had some: where one of these replies had, another with
    timings had none. All is null where no reply names any. named: replies of other requests do.
    """
    ok = succeeded(table)
    drafted, accepted = ints(table, "draft_tokens"), ints(table, "draft_tokens_accepted")
    says = drafted.valid & accepted.valid
    silent = np.isnan(floats(table, "server_predicted_ms")) & ~says
    if not ok.any() or not (named or (says & ok).any()) or (silent & ok).any():
        return Speculation()
    return _of(
        int(drafted.values[ok & says].sum()),
        int(accepted.values[ok & says].sum()),
        total(ints(table, "completion_tokens"), ok),
    )


def by_category(tables: list[pa.Table]) -> dict[str, Speculation]:
    """Category of text → its requests of all repeats; empty where none tells of drafts."""
    pooled = pa.concat_tables(tables)
    category = pooled.column("category")
    names = sorted(category.unique().drop_null().to_pylist())
    named = by_requests(pooled).draft_tokens is not None
    figures = {name: by_requests(pooled.filter(pc.equal(category, name)), named) for name in names}
    return {name: own for name, own in figures.items() if own.draft_tokens is not None}


def by_counters(server: ServerFigures) -> Speculation:
    """By the growth of the server's counters during the load."""
    profile = server.profile
    drafted = server.growth(profile.draft_tokens)
    accepted = server.growth(profile.accepted_tokens)
    if drafted is None or accepted is None:
        return Speculation()
    return _of(drafted, accepted, server.growth(profile.completion_tokens))


def _of(drafted: int, accepted: int, completion: int | None) -> Speculation:
    steps = (completion or 0) - accepted
    return Speculation(
        draft_tokens=drafted,
        accepted_tokens=accepted,
        acceptance=accepted / drafted if drafted else None,
        tokens_per_step=completion / steps if completion and steps > 0 else None,
    )
