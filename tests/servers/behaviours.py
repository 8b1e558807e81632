"""What a misbehaving server may do to one request."""

from __future__ import annotations

from tests.servers.misbehaving import (
    Asked,
    Behaviour,
    Talk,
    chunk,
    chunked,
    events,
    good,
    reply,
    stream_head,
)

BODY = b"".join(events())
CUT_SHORT = stream_head() + chunk(events()[0]) + chunk(events()[1])
UNFRAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def once(behave: Behaviour) -> Behaviour:
    """Misbehave on the first attempt only."""
    return lambda talk, asked: (behave if asked.attempt == 1 else good)(talk, asked)


def sends(data: bytes, close: bool = False) -> Behaviour:
    def behave(talk: Talk, asked: Asked) -> None:
        talk.send(data)
        if close:
            talk.close()

    return behave


def says_nothing(talk: Talk, asked: Asked) -> None:
    talk.hold()


def closes(talk: Talk, asked: Asked) -> None:
    talk.close()


def resets(talk: Talk, asked: Asked) -> None:
    talk.reset()


def stalls(talk: Talk, asked: Asked) -> None:
    talk.send(CUT_SHORT)
    talk.hold()


def stalls_with_too_long_a_content_length(talk: Talk, asked: Asked) -> None:
    talk.send(reply(b"{}", content_length="100"))
    talk.hold()


def drips_its_head(talk: Talk, asked: Asked) -> None:
    talk.send(chunked(*events()), size=1, pause_s=0.05)
