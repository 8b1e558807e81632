"""Parsing of an exchange's reply, after the load."""

from __future__ import annotations

from mls.load.transport.exchange import Exchange
from mls.protocol.completion import Reply, read_reply


def parse(exchange: Exchange, secret: tuple[str, ...] = ()) -> Reply:
    """Parse an exchange's raw body. Never raises: what can't be parsed is the reply's error.

    secret: keys, which nothing that is kept may hold (see `Reply.hide`).
    """
    error = exchange.error
    return read_reply(
        exchange.status,
        exchange.event_stream,
        exchange.pieces,
        last_read=len(exchange.read_ns) - 1,
        failure=None if error is None else (error, exchange.error_text or ""),
        secret=secret,
    )
