"""The way to a server: its proxy, and the keys of each request."""

import socket

import pytest

from mls.config.sections.run import Run
from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.protocol.request import RequestBuilder, Target
from mls.server.access import proxy_for, server_url, target_of

EPOLL, THREADS = Run(), Run(transport="requests")
FAR = "http://llm.example:81"
PROXY = "http://me:s3cret@proxy.example:3128"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def proxy(url=FAR, run=THREADS, **server):
    return proxy_for(url, Server(url=url, **server), run)


def test_without_a_proxy_there_is_none():
    assert proxy() is proxy(run=EPOLL) is None


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_the_environments_proxy_is_used_by_the_transport_that_can(monkeypatch, name):
    monkeypatch.setenv(name, PROXY)
    assert proxy() == PROXY
    with pytest.raises(UserError) as error:
        proxy(run=EPOLL)
    assert str(error.value) == (
        f"{name} names the proxy http://proxy.example:3128 for {FAR}, but the epoll transport speaks "
        "to the server itself: add llm.example to NO_PROXY, or set server.proxy and "
        "run.transport: requests."
    )


def test_a_proxy_of_another_scheme_is_not_on_the_way(monkeypatch):
    monkeypatch.setenv("http_proxy", PROXY)
    assert proxy("https://llm.example") is None


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        (FAR, "llm.example"),
        (FAR, ".example"),
        (FAR, "example"),
        (FAR, "*"),
        ("http://10.1.2.3:8000", "10.0.0.0/8"),
        ("http://10.1.2.3:8000", "10.1.2.3"),
        (FAR, "llm.example:81"),
    ],
)
def test_no_proxy_is_honoured(monkeypatch, url, direct):
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("NO_PROXY", direct)
    assert proxy(url, EPOLL) is None


def has_address(host):
    """Whether this host can resolve a name; in a bare root it can't resolve its own."""
    try:
        return bool(socket.getaddrinfo(host, 1))
    except OSError:
        return False


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "http://127.0.0.2:1",
        "http://localhost:1",
        "http://[::1]:1",
        "http+unix://%2Frun%2Fllama.sock",
        *([f"http://{socket.gethostname()}:1"] if has_address(socket.gethostname()) else []),
    ],
)
def test_servers_of_this_host_need_none(monkeypatch, url):
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("all_proxy", PROXY)
    assert proxy(url, EPOLL) is None


def test_the_configs_proxy_goes_first_and_needs_the_other_transport(monkeypatch):
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy(proxy="http://other:1") == "http://other:1"
    with pytest.raises(UserError, match=r"server\.proxy: .* run\.transport"):
        proxy(run=EPOLL, proxy="http://other:1")


def test_keys_come_from_their_variables_and_go_with_each_request(monkeypatch):
    monkeypatch.setenv("AZ", " s3cret/key ")
    monkeypatch.setenv("OTHER", "Bearer t0ken-1")
    headers = {"api-key": "AZ", "X-Gateway": "OTHER"}
    target = target_of(FAR, Server(url=FAR, headers_env=headers), Run(request_headers={"X-T": "b"}))
    assert target.headers == {"api-key": "s3cret/key", "X-Gateway": "Bearer t0ken-1"}
    assert "s3cret" not in repr(target) and "t0ken" not in repr(target)
    assert {"s3cret/key", "s3cret\\/key", "s3cret%2Fkey", "t0ken-1"} <= {*target.secrets}
    builder = RequestBuilder([target], Run(), served_as=None, seed=1, run_id="r")
    assert b"\r\napi-key: s3cret/key\r\nX-Gateway: Bearer t0ken-1\r\n" in builder.wire(0)
    assert builder.headers(0)["api-key"] == "s3cret/key"
    assert builder.secret == target.secrets


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, r"server\.headers_env\.api-key: the environment variable AZ is not set"),
        ("geheim\nü", "The value in AZ has characters that can't be sent"),
        ("abc", "AZ holds fewer than 4 characters"),
    ],
)
def test_a_header_that_cannot_be_had_is_one_sentence(monkeypatch, value, words):
    monkeypatch.delenv("AZ", raising=False)
    if value:
        monkeypatch.setenv("AZ", value)
    with pytest.raises(UserError, match=words) as error:
        target_of(FAR, Server(url=FAR, headers_env={"api-key": "AZ"}), Run())
    assert value is None or value not in str(error.value)


@pytest.mark.parametrize(
    ("proxy", "secrets"),
    [
        ("http://proxy:3128", []),
        ("http://me:s3cret@proxy:3128", ["s3cret", "bWU6czNjcmV0"]),
        ("http://me:s3cr%3Aet@proxy", ["s3cr%3Aet", "s3cr:et", "bWU6czNjcjpldA=="]),
        ("http://t0ken@proxy", ["t0ken", "dDBrZW46"]),
        ("http://me:abc@proxy", ["bWU6YWJj"]),
    ],
)
def test_a_proxys_password_is_a_secret_in_each_form(proxy, secrets):
    target = Target(FAR, "the-key", proxy)
    assert {*secrets} <= {*target.secrets} and "abc" not in target.secrets
    assert target.secrets[0] == "the-key"
    assert len(target.secrets) < 4 * (1 + len(secrets)) + 1


@pytest.mark.parametrize(
    "url",
    [
        *["ftp://a", "", "a:80", "http://me:s3cret@a", "http://[::1", "http://a?api-key=s3cret"],
        *["ftp://a?key=s3cret", "me:s3cret@a", "http://a/v1#access_token=s3cret"],
    ],
)
def test_what_is_no_url_is_one_sentence_without_passwords(url):
    with pytest.raises(UserError, match="--server: ") as error:
        server_url(url)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("url", [f" {FAR} ", f"{FAR}/\n", "\thttp+unix://%2Fs.sock "])
def test_blanks_around_a_url_are_none_of_it(url):
    assert server_url(url) == url.strip().rstrip("/") == Server(url=url).url


@pytest.mark.parametrize("url", [f"{FAR} /v1", f"{FAR}/a b", "http+unix://%2Fs.sock a"])
def test_blanks_in_a_url_are_refused(url):
    with pytest.raises(UserError, match="expected a URL"):
        server_url(url)


def test_the_request_line_keeps_the_query():
    run = Run(endpoint="/chat/completions?api-version=2024-10-21")
    targets = [Target("http://a/d/gpt"), Target("http://b/d/gpt/chat")]
    builder = RequestBuilder(targets, run, served_as=None, seed=1, run_id="r")
    line = b"POST /d/gpt/chat/completions?api-version=2024-10-21 HTTP/1.1\r\n"
    assert builder.wire(0).startswith(line) and builder.wire(0, 1).startswith(line)
