"""What is fuzzed: each target takes any bytes, and raises when the project's code breaks a promise.

Bytes of a server go through the same functions as in a run; what comes out must be the same
however they were split, must be an error or a parse, and must fit the tables. The first byte
of an input says how it is split and framed, so that a seed is a file that a person can read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

import httptools

from mls.config.sections.run import Run
from mls.load.records import records
from mls.load.transport.connection import Connection
from mls.load.transport.exchange import Exchange, Read
from mls.load.transport.unframe import HttpReply
from mls.protocol.completion import read_reply
from mls.protocol.metrics import parse_metrics
from mls.protocol.request import RequestBuilder, Target
from mls.protocol.sse import BYTE_ORDER_MARK, Event, events, is_whole
from mls.protocol.values import storable

_BUILDER = RequestBuilder([Target("http://127.0.0.1:1")], Run(), served_as=None, seed=1, run_id="f")
_STATUS = (200, 200, 429, 500)


def sse(data: bytes) -> None:
    """Server-sent events: any split gives the same ones, and they are those of the specification."""
    size, body = data[:1], data[1:]
    expected = _plain_events(body)
    assert [event.data for event in events([(body, 0)])] == expected
    reads = list(enumerate(_pieces(body, size)))
    found: list[Event] = list(events([(piece, read) for read, piece in reads]))
    assert [event.data for event in found] == expected
    came = [event.read for event in found]
    assert came == sorted(came) and all(0 <= read < len(reads) for read in came)


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
    at_once, split = _received([raw]), _received(_pieces(raw, size))
    assert at_once.error == split.error
    if at_once.error is None:
        assert at_once.status == split.status
        assert _body(at_once) == _body(split)
    for exchange in (at_once, split):
        _check_row(exchange)


def probe(data: bytes) -> None:
    """What the probe makes of a reply: figures that are figures, and text."""
    for event_stream in (True, False):
        found = read_reply(200, event_stream, [(data, 0)])
        for figure in (found.prompt_tokens, found.completion_tokens, found.cached_tokens):
            assert figure is None or type(figure) is int
        assert found.finish_reason is None or isinstance(found.finish_reason, str)
        json.dumps([storable(found.usage), storable(found.timings)], allow_nan=False).encode()
    metrics = parse_metrics(data.decode("latin-1"))
    assert all(math.isfinite(value) for value in metrics.values())


TARGETS: dict[str, Callable[[bytes], None]] = {
    "sse": sse,
    "reply": reply,
    "http": http,
    "probe": probe,
}


def _pieces(body: bytes, size: bytes) -> list[bytes]:
    """The body in pieces of so many bytes; 0: in one."""
    step = (size[0] if size else 0) or len(body) or 1
    return [body[at : at + step] for at in range(0, len(body), step)]


def _plain_events(body: bytes) -> list[bytes]:
    """The specification's algorithm, with our leniencies, for a body that is there as a whole."""
    found, data = [], list[bytes]()
    for line in [*re.split(rb"\r\n|\n|\r", body.removeprefix(BYTE_ORDER_MARK)), b""]:
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"error:"):
            data.append(b'{"error":' + line[6:] + b"}")
        elif line.startswith(b"{"):
            data.append(line)
        elif not line:
            if any(data):
                apart = len(data) > 1 and is_whole(data[0])
                found += data if apart else [b"\n".join(data)]
            data = []
    return found


def _received(raw: list[bytes]) -> Exchange:
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
    framed = HttpReply(exchange.reads).framed
    if not connection.complete and not (connection.headers_done and not framed):
        exchange.fail("closed_early", "", len(raw) + 2)
    return exchange


def _body(exchange: Exchange) -> bytes:
    return b"".join(piece for piece, _ in HttpReply(exchange.reads).pieces)


def _check_row(exchange: Exchange) -> None:
    found = _row(exchange)
    assert found["error"] is not None or found["chunks"] or found["finish_reason"] is not None
    assert len(found["error_text"] or "") <= 200
    assert len(found["chunk_ns"]) == len(found["chunk_merged"]) == found["chunks"]
    for figure in (found["server_prompt_ms"], found["server_predicted_ms"]):
        assert figure is None or (math.isfinite(figure) and figure >= 0)


def _row(exchange: Exchange) -> dict[str, object]:
    """The row of `requests.parquet`, through Arrow."""
    (table,) = records([exchange], _BUILDER, rank=0, keep_output=True)
    table.validate(full=True)
    return table.to_pylist()[0]
