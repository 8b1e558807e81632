"""A server's URL and an endpoint, in all the ways that people write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.core.errors import UserError
from mls.protocol.address import endpoint_url, redirection, root_url

CHAT = "/v1/chat/completions"
AZURE = "/chat/completions?api-version=2024-10-21"
WORD = st.text("abcdefgh-_.~9", min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("url", "endpoint", "target", "root"),
    [
        ("http://a:1", CHAT, "http://a:1/v1/chat/completions", "http://a:1"),
        ("http://a:1/v1", CHAT, "http://a:1/v1/chat/completions", "http://a:1"),
        ("http://a:1/v1/", CHAT, "http://a:1/v1/chat/completions", "http://a:1"),
        ("http://a/x/v1", CHAT, "http://a/x/v1/chat/completions", "http://a/x"),
        ("http://a/x", CHAT, "http://a/x/v1/chat/completions", "http://a/x"),
        ("http://a/v1", "/chat/completions", "http://a/v1/chat/completions", "http://a"),
        ("http://a/v4", "/chat/completions", "http://a/v4/chat/completions", "http://a/v4"),
        ("http://a", "/x/v1/completions", "http://a/x/v1/completions", "http://a/x"),
        ("http://a/x", "/x/v1/completions", "http://a/x/v1/completions", "http://a/x"),
        ("http://a/v1/chat/completions", CHAT, "http://a/v1/chat/completions", "http://a"),
        ("http://a/d/gpt", AZURE, f"http://a/d/gpt{AZURE}", "http://a/d/gpt"),
        ("http://a/d/gpt/chat/completions", AZURE, f"http://a/d/gpt{AZURE}", "http://a/d/gpt"),
        ("http://a", "/v1/chat/completions/", "http://a/v1/chat/completions/", "http://a"),
        (
            "http://a/api/openai",
            "/v1/responses",
            "http://a/api/openai/v1/responses",
            "http://a/api/openai",
        ),
        ("http://a", "/api/v1/messages", "http://a/api/v1/messages", "http://a/api"),
        ("http://a", "/completion", "http://a/completion", "http://a"),
        ("http://a", "/generate", "http://a/generate", "http://a"),
        ("http+unix://%2Fr.sock/v1", CHAT, f"http+unix://%2Fr.sock{CHAT}", "http+unix://%2Fr.sock"),
        ("http://[::1]:7/v1", CHAT, f"http://[::1]:7{CHAT}", "http://[::1]:7"),
    ],
)
def test_url_and_endpoint(url, endpoint, target, root):
    assert endpoint_url(url, endpoint) == target
    assert root_url(url, endpoint) == root


@given(st.lists(WORD, max_size=3, unique=True), st.data())
def test_wherever_the_words_stand_it_is_the_same_url(prefix, data):
    """The URL may end at any word, and the endpoint may repeat words of it."""
    words = [*prefix, "v1", "chat", "completions"]
    end = data.draw(st.integers(0, len(words)))
    begin = data.draw(st.integers(0, min(end, len(words) - 1)))
    base = "".join(f"/{word}" for word in words[:end])
    endpoint = "".join(f"/{word}" for word in words[begin:])
    whole = "http://a" + "".join(f"/{word}" for word in words)
    if base.endswith("/completions") and begin == end:
        return
    assert endpoint_url(f"http://a{base}", f"{endpoint}?q=1") == f"{whole}?q=1"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        (
            "http://a/v1/completions",
            "server.url (--server) to http://a and run.endpoint (--endpoint) to /v1/completions",
        ),
        (
            f"http://a/d/gpt{AZURE}",
            f"server.url (--server) to http://a/d/gpt and run.endpoint (--endpoint) to {AZURE}",
        ),
        ("http://a/v1?key=1", "run.endpoint, with the query"),
    ],
)
def test_the_url_of_another_endpoint_is_refused_with_how_to_write_it(url, advice):
    with pytest.raises(UserError) as error:
        endpoint_url(url, CHAT)
    assert url in str(error.value) and advice in str(error.value)


@given(st.text())
def test_any_location_is_said_on_one_line(location):
    assert redirection(f"http://a:1{CHAT}", location).isprintable()


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (
            "/v1/chat/completions/",
            r"http://a:1/v1/chat/completions/ \(Location\), .* set run.endpoint to /v1/ch",
        ),
        (
            "https://b/x/v1/chat/completions",
            "set server.url to https://b/x and run.endpoint to /v1/",
        ),
        (
            "/login?next=1",
            "redirected to http://a:1/login.next=1 .*server.url to the API's own URL",
        ),
        ("//b\r\nx", "redirected to http://b"),
        ("http://[b", "redirected to http://.b .Location., which is no URL"),
    ],
)
def test_a_redirect_names_what_to_set(location, words):
    text = redirection(f"http://a:1{CHAT}", location)
    assert text.isprintable()
    assert re.search(words, text)


@pytest.mark.parametrize(
    "location", ["/login?token=s3cret&next=/", "http://me:s3cret@a/v1?key=s3cret"]
)
def test_a_redirection_shows_no_key(location):
    text = redirection("http://a/v1/chat/completions", location)
    assert "s3cret" not in text and "***" in text
