"""Server-sent events, for any split of the body's bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.protocol.sse import Event, events

LINE_ENDS = [b"\n", b"\r\n", b"\r"]
NO_DATA = [b": ping", b":", b"event: token", b"id: 7", b"retry: 1"]


def pieces(body, cuts):
    """The body as (bytes, number of the read) pieces, cut at these places; equal cuts give b""."""
    edges = [0, *sorted(cuts), len(body)]
    return [(body[a:b], i) for i, (a, b) in enumerate(itertools.pairwise(edges))]


def data(body, cuts=()):
    return [event.data for event in events(pieces(body, cuts))]


@st.composite
def bodies(draw):
    """(body, data of its events, cuts), with any line ends, comments, pings, fields and data."""
    end = draw(st.sampled_from(LINE_ENDS))
    text = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]))
    expected, body = [], b""
    for _ in range(draw(st.integers(0, 6))):
        lines = []
        values = []
        for value in draw(st.lists(text, max_size=3)):
            lines += draw(st.lists(st.sampled_from(NO_DATA), max_size=2))
            lines.append(b"data:" + draw(st.sampled_from([b"", b" "])) + value.encode())
            # exactly one leading space belongs to the field's syntax
            values.append(lines[-1][5:].removeprefix(b" "))
        if any(values):
            expected.append(b"\n".join(values))
        body += end.join([*lines, b"", b""]) if lines else end
    cuts = draw(st.lists(st.integers(0, len(body)), max_size=20))
    return body, expected, cuts


@given(bodies())
def test_any_split_gives_the_same_events(example):
    body, expected, cuts = example
    assert data(body) == expected
    assert data(body, cuts) == expected
    assert data(body, range(len(body))) == expected


@given(bodies())
def test_read_is_the_one_that_brought_the_last_data_lines_end(example):
    body, _, cuts = example
    parts = pieces(body, {*cuts} - {0, len(body)})
    all_events = [*events(parts)]
    for i, event in enumerate(all_events):
        so_far = b"".join(piece for piece, read in parts if read <= event.read)
        before = b"".join(piece for piece, read in parts if read < event.read)
        assert data(so_far)[i] == event.data
        # the line was still open: what follows would belong to it
        assert {*data(before + b"!")[i : i + 1], *data(before + b"?")[i : i + 1]} != {event.data}


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_any_bytes_are_read_alike_however_split(body, cuts):
    cuts = [min(cut, len(body)) for cut in cuts]
    assert data(body, cuts) == data(body)


@pytest.mark.parametrize("end", LINE_ENDS)
def test_line_ends(end):
    body = end.join([b"data: a", b"", b"data: b", b"data: c", b"", b""])
    assert data(body) == [b"a", b"b\nc"]


def test_crlf_split_between_cr_and_lf_is_one_line_end():
    assert data(b"data: a\r\ndata: b\r\n\r\n", [8, 18]) == [b"a\nb"]


def test_comments_pings_and_other_fields_are_no_events():
    assert data(b": ping\n\nevent: x\nid: 1\n\ndata: a\n\n:\n\n") == [b"a"]


def test_event_without_data_is_none():
    assert data(b"data:\n\ndata: \n\ndata: a\n\n") == [b"a"]


def test_last_event_counts_without_its_blank_line():
    assert data(b"data: a\n\ndata: b\n") == [b"a", b"b"]
    assert data(b"data: a\n\ndata: b") == [b"a", b"b"]


def test_error_field_of_older_llama_servers_is_an_error_object():
    body = b'data: {}\n\nerror: {"code":500,"message":"no memory"}\n\n'
    assert data(body) == [b"{}", b'{"error": {"code":500,"message":"no memory"}}']


def test_followed_only_when_something_later_came_in_the_same_read():
    one, two = b"data: a\n\n", b"data: b\n\n"
    assert [*events([(one, 0), (two, 1)])] == [Event(b"a", 0, False), Event(b"b", 1, False)]
    assert [*events([(one + two, 0)])] == [Event(b"a", 0, True), Event(b"b", 0, False)]
    # that read has the start of the next event, so its newest bytes are later than the first event
    assert [*events([(one + two[:4], 0), (two[4:], 1)])] == [
        Event(b"a", 0, True),
        Event(b"b", 1, False),
    ]
    # the blank line alone came with the next event
    assert [*events([(one[:-1], 0), (b"\n" + two, 1)])] == [
        Event(b"a", 0, False),
        Event(b"b", 1, False),
    ]
    assert next(iter(events([(one + b": ping\n\n", 0), (two, 1)]))).followed


def test_a_long_line_in_very_many_pieces_is_joined_once():
    """To join the pieces one by one would copy half a terabyte."""
    parts = [(b"x" * 100, i) for i in range(100_000)]
    all_events = [*events([(b"data: ", 0), *parts, (b"\n\n", 100_000)])]
    assert [len(event.data) for event in all_events] == [10_000_000]
