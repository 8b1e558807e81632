"""Parsing of HTTP/1.1 replies after the load: from raw reads to head, body and arrival times.

While load is running, a parser finds the end of a reply only. A Python callback for each header and
each chunk would be the greater part of a token's cost.
"""

from __future__ import annotations

import contextlib

import httptools

from mls.load.transport.exchange import Exchange, Read
from mls.load.transport.timestamps import arrival_ns


class HttpReply:
    """A reply's head and body, as far as its bytes go. It is the protocol of its httptools parser.

    pieces: (bytes of the body, index of their read).
    """

    def __init__(self, reads: list[Read]) -> None:
        self.pieces: list[tuple[bytes, int]] = []
        self._read = 0
        self._over = False  # what comes after the reply is not its own
        self.on_message_begin()
        self._parser = parser = httptools.HttpResponseParser(self)
        # what doesn't parse has been noticed by the transport
        with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            for self._read, read in enumerate(reads):
                parser.feed_data(read[0])

    def on_message_begin(self) -> None:
        """Forget the head of an interim reply, which is not the final one's."""
        if self._over:
            return
        self.event_stream = False
        self.framed = False
        """Whether its head says where it ends. Otherwise it ends with the connection."""
        self.retry_after: str | None = None
        self.location: str | None = None
        self.encoding: str | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._over:
            return
        lower = name.lower()
        if lower == b"content-type":
            self.event_stream = value.lower().startswith(b"text/event-stream")
        elif lower in (b"content-length", b"transfer-encoding"):
            self.framed = True
        elif lower == b"retry-after":
            self.retry_after = value.decode("latin-1")
        elif lower == b"location":
            self.location = value.decode("latin-1")
        elif lower == b"content-encoding" and value.lower() != b"identity":
            self.encoding = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        if not self._over:
            self.pieces.append((body, self._read))

    def on_message_complete(self) -> None:
        self._over = self._parser.get_status_code() >= 200  # not for interim ones


def arrived_ns(read: Read, earliest_ns: int) -> int:
    """The time in ns at which a read's newest byte reached the host.

    It is the time of the read where there is no timestamp, or one that is out of bounds: earlier
    than `earliest_ns`, or later than the read.
    """
    _, stamp, read_ns, offset_ns = read
    moment_ns = arrival_ns(stamp, offset_ns) if stamp else read_ns
    # else the wall clock has just been set
    return moment_ns if earliest_ns <= moment_ns <= read_ns else read_ns


def unframe(exchange: Exchange) -> None:
    """Fill in an exchange's times and body from its raw reads, and drop the reads."""
    arrival = exchange.start_ns
    for read in exchange.reads:
        arrival = arrived_ns(read, arrival)
        exchange.arrived_ns.append(arrival)
        exchange.read_ns.append(read[2])
    reply = HttpReply(exchange.reads)
    exchange.event_stream = reply.event_stream
    exchange.location = reply.location
    exchange.pieces = reply.pieces
    if exchange.error is None:
        exchange.end_ns = exchange.arrived_ns[-1]
    if reply.encoding and exchange.error is None:
        exchange.error = "bad_encoding"
        exchange.error_text = f"Content-Encoding {reply.encoding} was not asked for"
    exchange.reads = []
