"""Server-sent events from pieces of a body, wherever the bytes were split.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html (9.2.6). Three leniencies
are each needed by some server or gateway. A last event without its blank line counts. Events one
newline apart, each a whole JSON value, are events of their own. JSON without `data:` is data.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

Piece = tuple[bytes, int]
"""Bytes of the body and the index of the read that brought them."""

DONE = b"[DONE]"
"""OpenAI's last event."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


_LAST = (b"\ndata: [DONE]", b"\ndata:[DONE]")
_TAIL = 24  # Bytes that hold `[DONE]` with blank lines and the frame of an HTTP chunk


class Event(NamedTuple):
    """One event's data, and the index of the read that brought its last line.

    followed: whether that read brought bytes after the event; its time is later than the event's
    own arrival then. name: the value of `event:`; b"" without one.
    """

    data: bytes
    read: int
    followed: bool
    name: bytes = b""


def says_done(read: bytes) -> bool:
    """Whether a read ends with the line `[DONE]`, which no JSON text can hold as a line."""
    tail = read[-_TAIL:] if len(read) > _TAIL else b"\n" + read
    return tail.rstrip().endswith(_LAST)


class _Line(NamedTuple):
    """A line, and the indices of the reads that brought its first byte and its end."""

    text: bytes
    began: int
    end: int


_END = _Line(b"", -1, -1)


def events(pieces: Iterable[Piece]) -> Iterator[Event]:
    """All events that carry data, in order."""
    last: Event | None = None  # Held back until the next line shows whether its read goes on
    block: list[_Line] = []
    name = b""
    for line in itertools.chain(_lines(pieces), [_END]):
        if not line.text:
            if block_events := _of_block(block, name):
                *before, last = block_events
                yield from before
            block, name = [], b""
            continue
        if last:
            yield Event(last.data, last.read, line.began == last.read, last.name)
            last = None
        data = _data(line.text)
        if data is not None:
            block.append(_Line(data, line.began, line.end))
        elif line.text.startswith(b"event:"):
            name = line.text[6:].strip()
    if last:
        yield last


def _of_block(block: list[_Line], name: bytes) -> list[Event]:
    """The events between two blank lines: one, or one a line where the first is a whole value."""
    if len(block) == 1 and block[0].text:  # Nearly all
        return [Event(block[0].text, block[0].end, False, name)]
    if not any(line.text for line in block):
        return []
    if len(block) > 1 and is_whole(block[0].text):
        return [
            Event(line.text, line.end, following is not None and following.began == line.end, name)
            for line, following in itertools.zip_longest(block, block[1:])
        ]
    return [Event(b"\n".join(line.text for line in block), block[-1].end, False, name)]


def is_whole(data: bytes) -> bool:
    """Whether these bytes are a whole event's data: `[DONE]`, or a JSON object."""
    try:
        return data.strip() == DONE or isinstance(orjson.loads(data), dict)
    except orjson.JSONDecodeError:
        return False


def _data(line: bytes) -> bytes | None:
    """A line's part of its event's data; None when the line is of another kind."""
    if line.startswith(b"data:"):
        return line[5:].removeprefix(b" ")
    if line.startswith(b"error:"):  # The form of older llama-servers
        return b'{"error":' + line[6:] + b"}"
    return line if line.startswith(b"{") else None


def _lines(pieces: Iterable[Piece]) -> Iterator[_Line]:
    """Lines without their end (LF, CRLF or CR), with the reads that brought first byte and end."""
    pending: list[bytes] = []  # Joined once a line: a long one may come in very many pieces
    began = read = -1
    after_cr = False  # Whether the last piece ended in CR, to which a first LF belongs
    for piece, read in _without_mark(pieces):
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
            yield _Line(b"".join([*pending, line]), began if pending else read, read)
            pending.clear()
        if rest:
            began = began if pending else read
            pending.append(rest)
    if pending:
        yield _Line(b"".join(pending), began, read)


def _without_mark(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces without a byte-order mark at the beginning."""
    head = b""
    rest = iter(pieces)
    for piece, read in rest:
        head += piece
        if len(head) >= len(BYTE_ORDER_MARK) or not BYTE_ORDER_MARK.startswith(head):
            yield head.removeprefix(BYTE_ORDER_MARK), read
            break
    else:
        yield head, 0
    yield from rest
