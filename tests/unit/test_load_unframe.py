"""HTTP replies parsed after the load, for any split of the connection's bytes into reads."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.servers.misbehaving import chunk, chunked, events, reply, stream_head

from mls.load.transport.unframe import HttpReply
from mls.protocol import sse

BODY = b"".join(events())
FORMS = {
    "chunked": chunked(*events()),
    "chunks that cut through events": chunked(*(BODY[at : at + 11] for at in range(0, 600, 11))),
    "CRLF": chunked(BODY.replace(b"\n", b"\r\n")),
    "length": reply(BODY, content_type="text/event-stream"),
    "until it closes": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + BODY,
    "after 100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n" + chunked(*events()),
    "with a trailer": stream_head() + chunk(BODY) + b"0\r\nX-Late: 1\r\n\r\n",
}
SIGNIFICANT = [event.removeprefix(b"data: ").rstrip() for event in events()]


def split_reply(raw, cuts):
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    reads = [(raw[a:b], b"", i, 0) for i, (a, b) in enumerate(itertools.pairwise(edges)) if a < b]
    return HttpReply(reads)


@pytest.mark.parametrize("form", FORMS)
@given(cuts=st.lists(st.integers(0, 1200), max_size=20))
def test_any_split_gives_the_same_events(form, cuts):
    http_reply = split_reply(FORMS[form], cuts)
    assert http_reply.event_stream
    assert [event.data for event in sse.events(http_reply.pieces)] == SIGNIFICANT


@pytest.mark.parametrize("form", FORMS)
def test_a_read_for_each_byte_gives_the_same_events(form):
    raw = FORMS[form]
    http_reply = split_reply(raw, range(len(raw)))
    all_events = list(sse.events(http_reply.pieces))
    assert [event.data for event in all_events] == SIGNIFICANT
    assert not any(event.followed for event in all_events)
