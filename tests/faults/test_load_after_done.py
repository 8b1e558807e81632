"""A reply is complete at `[DONE]`, whatever the server does with the connection after that."""

import pytest
from tests.faults.driving import assert_good, gather, rows
from tests.servers.misbehaving import Misbehaving, chunk, chunked, events, stream_head

from mls.core.units import NS_PER_S
from mls.load.transport.epoll import LINGER_NS

pytestmark = pytest.mark.timeout(60)
WHOLE_BODY = b"".join(map(chunk, events()))


def holds(talk, request):
    """Send the whole body, and leave the reply open."""
    talk.send(stream_head() + WHOLE_BODY)
    talk.hold()


def test_a_reply_that_is_held_open_is_complete():
    with Misbehaving(default=holds) as server:
        harvest = gather(server.url)
    for row in harvest.table.to_pylist():
        assert_good(row)
        assert row["end_ns"] - row["start_ns"] < NS_PER_S
        assert LINGER_NS <= row["after_done_ns"] < 10 * NS_PER_S
    assert len(server.requests) == 6


def test_a_late_end_of_the_reply_costs_no_connection():
    """HTTP's last chunk comes in a `send` of its own, as from most servers."""

    def late(talk, request):
        talk.send(stream_head() + WHOLE_BODY)
        talk.server.over.wait(LINGER_NS / 10 / NS_PER_S)
        talk.send(b"0\r\n\r\n")

    with Misbehaving(default=late) as server:
        for row in rows(server.url):
            assert_good(row)
            # 0 where a busy client read both sends at once
            assert row["after_done_ns"] >= 0 and row["reconnects"] == 0
        assert server.connections == 2


def test_a_connection_closed_without_the_last_chunk_has_cut_nothing_off():
    def closes(talk, request):
        talk.send(stream_head() + WHOLE_BODY)
        talk.close()

    with Misbehaving({1: closes, 4: closes}) as server:
        for row in rows(server.url):
            assert_good(row)


def test_words_of_the_reply_do_not_end_it():
    """`[DONE]` is part of a token's text here, and the last bytes of a read."""

    def says_so(talk, request):
        head, *rest = events()
        text = chunked(head.replace(b"Once", b"\\ndata: [DONE]"), *rest)
        at = text.index(b"data: [DONE]") + len(b"data: [DONE]")
        talk.send(text[:at], pause_s=3 * LINGER_NS / NS_PER_S)
        talk.send(text[at:])

    with Misbehaving({2: says_so}) as server:
        for row in rows(server.url):
            assert_good(row)
