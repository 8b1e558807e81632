"""The server that each request goes to."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.load.transport.routing import Router
from mls.protocol.request import RequestBuilder, Target

URLS = [f"http://127.0.0.1:{8000 + i}" for i in range(5)]
counts = st.integers(2, 5)


def router(policy, servers, turns=1):
    return Router(servers, policy, turns)


@given(counts, st.integers(-8, 100))
def test_round_robin_serves_each_in_turn(servers, first):
    choices = [router("round_robin", servers).choose(first + i, []) for i in range(3 * servers)]
    assert Counter(choices) == dict.fromkeys(range(servers), 3)
    assert all(b == (a + 1) % servers for a, b in itertools.pairwise(choices))


@given(counts, st.integers(0, 100), st.data())
def test_least_outstanding_is_never_a_busier_one(servers, job, data):
    busy = data.draw(st.lists(st.integers(0, servers - 1), max_size=40))
    server = router("least_outstanding", servers).choose(job, iter(busy))
    outstanding = [busy.count(each) for each in range(servers)]
    assert outstanding[server] == min(outstanding)
    if len({*outstanding}) == 1:  # equal: in turn
        assert server == job % servers


@given(counts, st.integers(2, 9), st.integers(0, 100))
def test_sticky_keeps_a_conversation_on_one_server(servers, turns, session):
    choices = {
        router("sticky", servers, turns).choose(session * turns + t, []) for t in range(turns)
    }
    assert choices == {session % servers}


def test_each_server_gets_its_own_head_and_the_same_body():
    targets = [Target("http://one:1"), Target("https://two.example/root", "key")]
    builder = RequestBuilder(targets, Run(), served_as=None, seed=1, run_id="r")
    builder.build_ahead(range(2))
    first, second = builder.wire(0, 0), builder.wire(1, 1)
    assert first.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: one:1\r\n")
    assert second.startswith(b"POST /root/v1/chat/completions HTTP/1.1\r\nHost: two.example\r\n")
    assert f"X-Request-Id: {builder.request_id(1)}\r\n".encode() in second
    again = builder.wire(1, 0)
    assert again.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"url": URLS[0], "urls": URLS[1:]}, "`url` or `urls`, not both"),
        ({"urls": [URLS[0], URLS[0]]}, "given twice"),
        ({"url": URLS[0], "policy": "sticky"}, "goes with several `urls`"),
        ({"urls": ["nowhere"]}, "expected a URL"),
        ({"urls": URLS, "policy": "sticky"}, "sticky goes with workload.kind conversation"),
    ],
)
def test_what_makes_no_sense_is_refused(server, words):
    with pytest.raises(UserError, match=words):
        cells(parse_config({"models": {"m": {}}, "server": server}))
