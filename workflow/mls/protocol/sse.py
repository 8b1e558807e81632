"""Server-sent events from pieces of a body, however the bytes were split.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html (9.2.6). One
leniency: a last event that the stream's end cut off before its blank line still counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

Piece = tuple[bytes, int]
"""Bytes of the body and the index of the read that brought them."""


class Event(NamedTuple):
    """One event's data, and the read in which its last line came.

    followed: bytes of something later came in that same read, so that the read's time is
    later than this event's own arrival.
    """

    data: bytes
    read: int
    followed: bool


def events(pieces: Iterable[Piece]) -> Iterator[Event]:
    """All events that carry data, in order."""
    data: list[bytes] = []
    came = -1
    ended: tuple[bytes, int] | None = None  # an event that waits to learn what follows it
    for line, began, end in _lines(pieces):
        if ended and line:
            yield Event(*ended, followed=began == ended[1])
            ended = None
        if not line:
            if any(data):
                ended = (b"\n".join(data), came)
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
            came = end
        elif line.startswith(b"error:"):  # older llama-servers say so what went wrong
            data.append(b'{"error":' + line[6:] + b"}")
            came = end
    if any(data):
        ended = (b"\n".join(data), came)
    if ended:
        yield Event(*ended, followed=False)


def _lines(pieces: Iterable[Piece]) -> Iterator[tuple[bytes, int, int]]:
    """Lines without their end (LF, CRLF or CR), with the reads that brought first byte and end."""
    pending: list[bytes] = []  # joined once: a long line may come in very many pieces
    began = read = -1
    after_cr = False  # the last piece ended in CR: an LF that follows belongs to it
    for piece, read in pieces:
        if after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            after_cr = False
        if not piece:
            continue
        after_cr = piece.endswith(b"\r")
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *complete, rest = piece.split(b"\n")
        for line in complete:
            yield b"".join([*pending, line]), began if pending else read, read
            pending.clear()
        if rest:
            began = began if pending else read
            pending.append(rest)
    if pending:
        yield b"".join(pending), began, read
