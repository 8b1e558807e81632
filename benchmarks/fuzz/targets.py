"""Targets of the fuzzer: each takes any bytes, and raises when the code breaks a promise.

Bytes of a server go through the same functions as in a run. The result must not depend on how they
are split, must be an error or a parse, and must fit the tables. The first byte of an input says how
the rest is split and framed, so that a seed is a file that a person can read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

import httptools

from mls.config.sections.replies import ThinkTags
from mls.config.sections.run import Run
from mls.load.records import records
from mls.load.transport.connection import Connection
from mls.load.transport.exchange import Exchange, Read
from mls.load.transport.unframe import HttpReply
from mls.protocol.completion import read_reply
from mls.protocol.metrics import read_metrics
from mls.protocol.request import RequestBuilder, Target
from mls.protocol.sse import BYTE_ORDER_MARK, Event, events, is_whole
from mls.protocol.values import storable

_BUILDER = RequestBuilder([Target("http://127.0.0.1:1")], Run(), served_as=None, seed=1, run_id="f")
_STATUS = (200, 200, 429, 500)


def sse(data: bytes) -> None:
    """Server-sent events: any split of the body gives the events of the specification."""
    size, body = data[:1], data[1:]
    expected = _plain_events(body)
    assert [event.data for event in events([(body, 0)])] == expected
    reads = list(enumerate(_pieces(body, size)))
    results: list[Event] = list(events([(piece, read) for read, piece in reads]))
    assert [event.data for event in results] == expected
    order = [event.read for event in results]
    assert order == sorted(order) and all(0 <= read < len(reads) for read in order)


def reply(data: bytes) -> None:
    """A body, streamed or not, with any status: an error or a result, and a row of the table."""
    form, body = data[:1], data[1:]
    bits = form[0] if form else 0
    exchange = Exchange(0, 0, 1)
    exchange.start_ns = 1
    exchange.status = _STATUS[bits & 3]
    exchange.event_stream = bool(bits & 4)
    for read, piece in enumerate(_pieces(body, bytes([bits >> 4]))):
        exchange.pieces.append((piece, read))
        exchange.arrived_ns.append(read + 2)
        exchange.read_ns.append(read + 3)
    exchange.end_ns = 2
    _check_row(exchange)


def http(data: bytes) -> None:
    """Raw reads of a connection: any split gives the same reply, and a row of the table."""
    size, raw = data[:1], data[1:]
    at_once, split = _exchange_of([raw]), _exchange_of(_pieces(raw, size))
    assert at_once.error == split.error
    if at_once.error is None:
        assert at_once.status == split.status
        assert _body(at_once) == _body(split)
    for exchange in (at_once, split):
        _check_row(exchange)


def probe(data: bytes) -> None:
    """The probe's reading of a reply: figures that are figures, and text."""
    for event_stream in (True, False):
        result = read_reply(200, event_stream, [(data, 0)])
        for figure in (result.prompt_tokens, result.completion_tokens, result.cached_tokens):
            assert figure is None or type(figure) is int
        assert result.finish_reason is None or isinstance(result.finish_reason, str)
        json.dumps([storable(result.usage), storable(result.timings)], allow_nan=False).encode()
    tags: tuple[ThinkTags, ...] = ("none", "both", "closing")
    for each in tags:
        result = read_reply(200, True, [(data, 0)], think_tags=each)
        assert all(0 < count <= len(result.text[i]) for i, count in result.reasoning.items())
        assert result.first_answer is None or result.first_answer < len(result.text)
    metrics = read_metrics(data.decode("latin-1"))
    assert all(math.isfinite(value) for value in metrics.values())


TARGETS: dict[str, Callable[[bytes], None]] = {
    "sse": sse,
    "reply": reply,
    "http": http,
    "probe": probe,
}


def _pieces(body: bytes, size: bytes) -> list[bytes]:
    """The body in pieces of `size[0]` bytes; 0: in one."""
    step = (size[0] if size else 0) or len(body) or 1
    return [body[at : at + step] for at in range(0, len(body), step)]


def _plain_events(body: bytes) -> list[bytes]:
    """The specification's algorithm, with the project's leniencies, for a whole body."""
    plain, data = [], list[bytes]()
    for line in [*re.split(rb"\r\n|\n|\r", body.removeprefix(BYTE_ORDER_MARK)), b""]:
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"error:"):
            data.append(b'{"error":' + line[6:] + b"}")
        elif line.startswith(b"{"):
            data.append(line)
        elif not line:
            if any(data):
                separate = len(data) > 1 and is_whole(data[0])
                plain += data if separate else [b"\n".join(data)]
            data = []
    return plain


def _exchange_of(raw: list[bytes]) -> Exchange:
    """An exchange whose connection brought these reads and was then closed by the server."""
    connection = Connection(0)
    connection.exchange = exchange = Exchange(0, 0, 1)
    exchange.start_ns = 1
    for i, data in enumerate(raw):
        read: Read = (data, b"", i + 2, 0)
        exchange.reads.append(read)
        try:
            connection.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not connection.complete:
                exchange.fail("bad_http", "", i + 2)
                return exchange
        if connection.complete:
            break
    has_frame = HttpReply(exchange.reads).framed
    if not connection.complete and not (connection.headers_done and not has_frame):
        exchange.fail("closed_early", "", len(raw) + 2)
    return exchange


def _body(exchange: Exchange) -> bytes:
    return b"".join(piece for piece, _ in HttpReply(exchange.reads).pieces)


def _check_row(exchange: Exchange) -> None:
    row = _row(exchange)
    assert row["error"] is not None or row["chunks"] or row["finish_reason"] is not None
    assert len(row["error_text"] or "") <= 200
    assert len(row["chunk_ns"]) == len(row["chunk_merged"]) == row["chunks"]
    for figure in (row["server_prompt_ms"], row["server_predicted_ms"]):
        assert figure is None or (math.isfinite(figure) and figure >= 0)


def _row(exchange: Exchange) -> dict[str, object]:
    """The row of `requests.parquet`, through Arrow."""
    (table,) = records([exchange], _BUILDER, rank=0, keep_output=True)
    table.validate(full=True)
    return table.to_pylist()[0]
