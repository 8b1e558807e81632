"""Limits within a request: on its connection, on its first token, on silence in its reply.

A transport checks all connections now and then, not at each read: limits cost nothing per token.
"""

from __future__ import annotations

import copy

from mls.config.sections.run import Run
from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.replies import parse
from mls.load.transport.connection import Connection
from mls.load.transport.exchange import Exchange
from mls.load.transport.unframe import unframe

NEVER_NS = 1 << 62
CONNECT = "timeout_connect"

Breach = tuple[str, str]
"""A limit that a request has reached: kind and text of the error."""


class Limits:
    """The limits of a run. Each is None where the config sets none.

    every_ns: the time between two checks, a tenth of the shortest limit. A limit may strike this
    late.
    """

    def __init__(self, run: Run) -> None:
        self._connect_ns = _ns(run.timeout_connect_s)
        self._first_token_ns = _ns(run.timeout_first_token_s)
        self._silence_ns = _ns(run.timeout_between_chunks_s)
        limits = [ns for ns in (self._connect_ns, self._first_token_ns, self._silence_ns) if ns]
        self.every_ns = max(min(limits) // 10, NS_PER_MS) if limits else NEVER_NS
        self._run = run

    def first_token_by_ns(self, exchange: Exchange) -> int:
        """The time by which a request must have its first token, all attempts together."""
        limit_ns = self._first_token_ns
        return NEVER_NS if limit_ns is None else exchange.start_ns + limit_ns

    def breach(self, connection: Connection, now_ns: int) -> Breach | None:
        """The limit that the request on this connection has reached; None without any."""
        exchange = connection.exchange
        if exchange is None:
            return None
        run = self._run
        if connection.opening:
            limit_ns = self._connect_ns
            if limit_ns and now_ns - connection.dialed_ns > limit_ns:
                return CONNECT, f"no connection within {run.timeout_connect_s:g} s"
        if now_ns > self.first_token_by_ns(exchange) and not _has_content(exchange):
            return "timeout_first_token", f"no token within {run.timeout_first_token_s:g} s"
        limit_ns, reads = self._silence_ns, exchange.reads
        if limit_ns and reads and now_ns - reads[-1][2] > limit_ns and _has_content(exchange):
            silence_s = run.timeout_between_chunks_s
            return "timeout_between_chunks", f"nothing came for {silence_s:g} s within the reply"
        return None


def _has_content(exchange: Exchange) -> bool:
    """Whether a content-bearing chunk has come.

    As little of the reply is parsed as possible: its first read, the first two, four, …
    """
    count = 1
    while not exchange.has_content and exchange.reads:
        head = copy.copy(exchange)
        head.reads, head.pieces, head.arrived_ns, head.read_ns = exchange.reads[:count], [], [], []
        unframe(head)
        exchange.has_content = bool(parse(head).chunk_reads)
        if count >= len(exchange.reads):
            break
        count *= 2
    return exchange.has_content


def _ns(limit_s: float | None) -> int | None:
    return None if limit_s is None else int(limit_s * NS_PER_S)
