"""Limits within a request: the moment at which they strike, and the first token by them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.servers.misbehaving import chunked, events

from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.replies import parse
from mls.load.transport.connection import Connection
from mls.load.transport.exchange import Exchange
from mls.load.transport.limits import NEVER_NS, Limits
from mls.load.transport.unframe import unframe

START_NS = 5 * NS_PER_S
PINGS = [b": ping\n\n"] * 3
BODY = chunked(*PINGS, *events())


def connection(*reads, start_ns=START_NS):
    """A connection whose request starts at `start_ns`; its reads follow 1 s later, 1 ms apart."""
    connection = Connection(0)
    connection.exchange = Exchange(0, 0, start_ns)
    connection.exchange.start_ns = start_ns
    connection.exchange.status = 200
    for i, data in enumerate(reads):
        connection.exchange.reads.append((data, b"", start_ns + NS_PER_S + i * NS_PER_MS, 0))
    return connection


def reads(body, cuts):
    edges = sorted({0, *cuts, len(body)})
    return [body[a:b] for a, b in itertools.pairwise(edges)]


@given(st.sets(st.integers(1, len(BODY) - 1), max_size=30), st.data())
def test_first_token_is_the_parsers_own_first_chunk(cuts, data):
    """The split of the bytes and the number of reads so far don't matter."""
    pieces = reads(BODY, cuts)
    pieces = pieces[: data.draw(st.integers(0, len(pieces)))]
    partial = connection(*pieces)
    limits = Limits(Run(timeout_first_token_s=2))
    whole = connection(*pieces).exchange
    if pieces:
        unframe(whole)
    breach = limits.breach(partial, START_NS + 2 * NS_PER_S + 1)
    assert (breach is None) == bool(parse(whole).chunk_reads)
    assert partial.exchange.reads == connection(*pieces).exchange.reads  # nothing is used up


def test_each_limit_strikes_at_its_own_moment():
    limits = Limits(Run(timeout_first_token_s=3, timeout_between_chunks_s=2))
    assert limits.every_ns == 200 * NS_PER_MS
    mute, streaming = connection(), connection(BODY[:-60])
    assert limits.breach(mute, START_NS + 3 * NS_PER_S) is None
    assert limits.breach(mute, START_NS + 3 * NS_PER_S + 1)[0] == "timeout_first_token"
    assert limits.breach(streaming, START_NS + 3 * NS_PER_S) is None
    assert limits.breach(streaming, START_NS + 3 * NS_PER_S + 1)[0] == "timeout_between_chunks"


def test_no_limits_are_never_looked_at():
    limits = Limits(Run())
    assert limits.every_ns == NEVER_NS
    assert limits.breach(connection(), NEVER_NS - 1) is None


@pytest.mark.parametrize("key", ["timeout_first_token_s", "timeout_between_chunks_s"])
@pytest.mark.parametrize("other", [{"stream": False}, {"transport": "requests"}])
def test_limits_on_chunks_need_a_stream_that_is_watched(key, other):
    with pytest.raises(UserError, match=f"{key}.*stream: true.*transport: epoll"):
        parse_config({"models": {"m": {}}, "run": {key: 1.0} | other})
