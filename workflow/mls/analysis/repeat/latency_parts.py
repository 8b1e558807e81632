"""Where the time of a request goes: the mean latency in parts, as far as the server tells its own."""

from __future__ import annotations

from collections.abc import Iterable

from mls.core.summary import ServerSide, Summary

CONNECT, OUTSIDE, REST, QUEUE, OTHERWISE, PREFILL, DECODE = LATENCY_PARTS = (
    "connect",
    "outside the server's clock",
    "queue, network and client",
    "queue",
    "otherwise in the server",
    "prefill",
    "decode",
)
"""All parts, in the order in which they pass. A repeat has `OUTSIDE` or `REST`, never both."""


def latency_parts(summary: Summary) -> dict[str, float]:
    """Part → its mean in ms over the successful requests; together they are the mean latency.

    Empty unless the server tells its latency, or both prefill and decode. Without `CONNECT` no
    request opened a connection, or none was timed. What lies outside the server's clock is
    negative where that clock shows more than the client's.
    """
    inside = _inside(summary.server)
    latency, connect = summary.latency_ms, summary.connect_ms
    if latency.mean is None or not inside:
        return {}
    parts = dict(inside)
    if connect.mean is not None:  # the other requests had their connection already
        parts[CONNECT] = connect.mean * connect.n / latency.n
    outside = OUTSIDE if summary.server.latency_ms is not None else REST
    parts[outside] = latency.mean - sum(parts.values())
    return _in_order(parts)


def mean_parts(summaries: Iterable[Summary]) -> dict[str, float]:
    """`latency_parts` as means over the repeats of which most is known; empty where none is."""
    repeats = [parts for summary in summaries if (parts := latency_parts(summary))]
    most = max((_without_connect(parts) for parts in repeats), key=len, default=set())
    alike = [parts for parts in repeats if _without_connect(parts) == most]
    names = {name for parts in alike for name in parts}
    return _in_order({n: sum(parts.get(n, 0.0) for parts in alike) / len(alike) for n in names})


def _inside(server: ServerSide) -> dict[str, float]:
    """The parts by the server's clock, in ms."""
    times = {QUEUE: server.queue_ms, PREFILL: server.prefill_ms, DECODE: server.decode_ms}
    known = {name: value for name, value in times.items() if value is not None}
    if server.latency_ms is not None:
        return known | {OTHERWISE: server.latency_ms - sum(known.values())}
    if PREFILL in known and DECODE in known:
        return {name: known[name] for name in (PREFILL, DECODE)}
    return {}


def _in_order(parts: dict[str, float]) -> dict[str, float]:
    return {name: parts[name] for name in LATENCY_PARTS if name in parts}


def _without_connect(parts: dict[str, float]) -> set[str]:
    return {*parts} - {CONNECT}
