"""Whether the server generated on for requests that were hung up on, by its own counters."""

from __future__ import annotations

import pyarrow as pa

from mls.analysis.repeat.cancellation.rests import Rests
from mls.analysis.repeat.columns import cancelled, ints, succeeded, total
from mls.analysis.repeat.server_figures import ServerFigures


def generated_share(table: pa.Table, server: ServerFigures, tokens: Rests) -> float | None:
    """Tokens that the server counted beyond those that it had generated until the ends of requests,
    over those of the rests of replies that were hung up on.

    It is 0 of a server that counts nothing for them. The rests are those after which the run was
    longer than any reply took, so that they would have been counted by its end. None where most of
    them are later, and where the books can't be compared.
    """
    ok, hung_up = succeeded(table), cancelled(table)
    ours = total(ints(table, "completion_tokens"), ok)
    growth = server.growth(server.profile.completion_tokens)
    again = (ints(table, "attempts").values > 1).any()
    if ours is None or growth is None or not ok.any() or again or not (ok | hung_up).all():
        return None
    if _used_by_others(table, server):
        return None
    start, end = ints(table, "start_ns").values, ints(table, "end_ns").values
    in_time = hung_up & (end <= end.max() - (end - start)[ok].max())
    rest = float(tokens.rest[in_time].sum())
    if not rest or 2 * in_time.sum() < hung_up.sum():
        return None
    share = float(growth - ours - tokens.generated[hung_up].sum()) / rest
    return min(
        max(share, 0.0), 1.0
    )  # below: hung-up requests aren't counted; above: later ones are


def _used_by_others(table: pa.Table, server: ServerFigures) -> bool:
    """Whether the server read more prompts than this run's, had each as many tokens as the longest."""
    ok, prompts = succeeded(table), ints(table, "prompt_tokens")
    read, ours = server.growth(server.profile.prompt_tokens), total(prompts, ok)
    if read is None or ours is None:
        return False
    return bool(read > ours + (~ok).sum() * prompts.values[ok].max())
