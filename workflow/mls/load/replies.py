"""Parsing of an exchange's reply, after the load."""

from __future__ import annotations

from mls.config.sections.replies import ThinkTags
from mls.load.transport.exchange import Exchange
from mls.protocol.completion import read_reply
from mls.protocol.replies.reply import Reply


def parse(
    exchange: Exchange,
    secret: tuple[str, ...] = (),
    think_tags: ThinkTags = "none",
    limit: int | None = None,
) -> Reply:
    """Parse an exchange's raw body. Never raises: what can't be parsed is the reply's error.

    secret: keys, which nothing that is kept may hold (see `Reply.hide`). think_tags: of thoughts in
    the text. limit: see `read_reply`.
    """
    error = exchange.error
    return read_reply(
        exchange.status,
        exchange.event_stream,
        exchange.pieces,
        last_read=len(exchange.read_ns) - 1,
        failure=None if error is None else (error, exchange.error_text or ""),
        secret=secret,
        think_tags=think_tags,
        limit=limit,
    )
