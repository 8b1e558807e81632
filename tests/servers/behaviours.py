"""What a misbehaving server may do to one request."""

from __future__ import annotations

from tests.servers.misbehaving import (
    Behaviour,
    Request,
    Talk,
    chunk,
    chunked,
    events,
    good,
    reply,
    stream_head,
)

BODY = b"".join(events())
HALF_REPLY = stream_head() + chunk(events()[0]) + chunk(events()[1])
UNFRAMED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\nContent-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 199 Soon\r\nX-Hint: 1\r\n\r\n",
)
"""Interim replies. What a head among them says of the reply need not be true."""


def once(behave: Behaviour) -> Behaviour:
    """A behaviour on the first attempt of a job, and a good reply on the others."""
    return lambda talk, request: (behave if request.attempt == 1 else good)(talk, request)


def sends(data: bytes, close: bool = False) -> Behaviour:
    def behave(talk: Talk, request: Request) -> None:
        talk.send(data)
        if close:
            talk.close()

    return behave


def says_nothing(talk: Talk, request: Request) -> None:
    talk.hold()


def closes(talk: Talk, request: Request) -> None:
    talk.close()


def resets(talk: Talk, request: Request) -> None:
    talk.reset()


def stalls(talk: Talk, request: Request) -> None:
    talk.send(HALF_REPLY)
    talk.hold()


def stalls_with_too_long_a_content_length(talk: Talk, request: Request) -> None:
    talk.send(reply(b"{}", content_length="100"))
    talk.hold()


def drips_its_head(talk: Talk, request: Request) -> None:
    talk.send(chunked(*events()), size=1, pause_s=0.05)
