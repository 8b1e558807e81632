"""The figures on requests that the client hung up on."""

from __future__ import annotations

import pyarrow as pa

from mls.analysis.repeat.cancellation.freed import Followers
from mls.analysis.repeat.cancellation.generated import generated_share
from mls.analysis.repeat.cancellation.rests import rests
from mls.analysis.repeat.columns import cancelled, ints, lists
from mls.analysis.repeat.server_figures import ServerFigures
from mls.core.summary import HangUps


def hang_ups(
    table: pa.Table,
    server: ServerFigures,
    reply_tokens: int | None,
    tokens_per_chunk: float | None,
    fills_slots: bool,
) -> HangUps | None:
    """The figures on hang-ups; None without any.

    reply_tokens, tokens_per_chunk: see `rests`. fills_slots: whether the load has as many places as
    the server has slots, and keeps all of them full.
    """
    if not cancelled(table).any():
        return None
    tokens = rests(table, reply_tokens, tokens_per_chunk)
    figures = HangUps(generated_share=generated_share(table, server, tokens))
    if fills_slots and not ints(table, "server").valid.any():
        followers = Followers(table, tokens)
        # of a reply in one piece it isn't seen whether its prompt had been read
        streamed = (lists(table, "chunk_ns").lengths > 1).any()
        answered = ints(table, "first_chunk_ns").valid | (not streamed)
        figures.in_reply = followers.after(answered)
        figures.in_prompt = followers.after(~answered, reads_on=True)
    return figures
