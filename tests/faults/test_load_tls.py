"""TLS over sockets whose reads keep their kernel timestamps."""

import shutil
import socket
import ssl

import pytest
from tests.faults.driving import assert_good, gather, only, rows
from tests.servers.certificates import certificate
from tests.servers.misbehaving import Misbehaving, chunked, events, good

from mls.core.errors import UserError
from mls.server.api import ServerApi

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate with openssl"),
]


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("ours"), "IP:127.0.0.1")


@pytest.fixture(scope="module")
def foreign_certificate(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("others"), "DNS:other.example")


@pytest.fixture
def trusted_tls(own_certificate, monkeypatch):
    """The context of a server that the client trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(own_certificate[1]))
    return own_certificate[0]


@pytest.mark.parametrize("transport, clock", [("epoll", "kernel"), ("requests", "user")])
@pytest.mark.parametrize("reuse", [True, False])
def test_good_replies(trusted_tls, transport, clock, reuse):
    with Misbehaving(tls=trusted_tls) as server:
        harvest = gather(server.url, transport=transport, iters=20, reuse_connections=reuse)
    assert harvest.ranks[0]["clock"] == clock
    for row in harvest.table.to_pylist():
        assert_good(row)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_all_trust_what_the_environment_names(own_certificate, monkeypatch, variable):
    """Loopback included, where the environment's proxies don't apply."""
    monkeypatch.setenv(variable, str(own_certificate[1]))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with Misbehaving(tls=own_certificate[0]) as server:
        for transport in ("epoll", "requests"):
            for row in rows(server.url, transport=transport):
                assert_good(row)
        assert ServerApi(server.url).complete("/v1/chat/completions", {}).completion_tokens == 4


def test_a_variable_that_names_no_certificates_is_one_sentence(
    own_certificate, monkeypatch, tmp_path
):
    (tmp_path / "empty.pem").write_text("")
    for name in ("none.pem", "empty.pem"):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / name))
        with pytest.raises(UserError, match=f"REQUESTS_CA_BUNDLE: .*{name} can't be read"):
            ServerApi("https://127.0.0.1:1")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_any_split_into_records(trusted_tls, size):
    data = chunked(*events())
    with Misbehaving(
        default=lambda talk, request: talk.send(data, size), tls=trusted_tls
    ) as server:
        for row in rows(server.url):
            assert_good(row)


def test_tls_1_2(own_certificate, trusted_tls):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_certificate[1], own_certificate[1].parent / "key.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Misbehaving(tls=context) as server:
        for row in rows(server.url):
            assert_good(row)


def test_close_notify_right_behind_the_reply(trusted_tls):
    """close_notify may come in the same read as the reply's last bytes, which still count."""

    def says_goodbye(talk, request):
        talk.send(chunked(*events(), connection="close"))
        talk.sock = talk.sock.unwrap()
        talk.close()

    with Misbehaving(default=says_goodbye, tls=trusted_tls) as server:
        for row in rows(server.url, iters=12):
            assert_good(row)


def test_closed_keep_alive_connection_is_opened_again(trusted_tls):
    def good_then_close(talk, request):
        good(talk, request)
        talk.close()

    with Misbehaving(default=good_then_close, tls=trusted_tls) as server:
        for row in rows(server.url, iters=12):
            assert_good(row)


def test_large_request_and_reply(trusted_tls):
    long = b'data: {"choices": [{"delta": {"content": "' + b"x" * 5_000_000 + b'"}}]}\n\n'
    reply = chunked(long, *events()[-3:])
    with Misbehaving(default=lambda talk, request: talk.send(reply), tls=trusted_tls) as server:
        records = rows(server.url, request_extra={"pad": "y" * 5_000_000})
        assert [row["error"] for row in records] == [None] * 6
        assert {len(request.body) > 5_000_000 for request in server.requests} == {True}
    assert [row["completion_tokens"] for row in records] == [4] * 6


@pytest.mark.parametrize("transport", ["epoll", "requests"])
def test_untrusted_certificate_is_one_sentence(own_certificate, transport):
    with Misbehaving(tls=own_certificate[0]) as server:
        with pytest.raises(UserError) as error:
            rows(server.url, transport=transport)
        assert server.url in str(error.value) and "SSL_CERT_FILE" in str(error.value)
        assert "\n" not in str(error.value)


def test_certificate_of_another_name_is_one_sentence(foreign_certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(foreign_certificate[1]))
    with Misbehaving(tls=foreign_certificate[0]) as server:
        with pytest.raises(UserError) as error:
            rows(server.url)
        assert "127.0.0.1" in str(error.value) and "\n" not in str(error.value)


def test_certificate_that_changes_in_mid_run_is_bad_tls(foreign_certificate, trusted_tls):
    def changes(talk, request):
        talk.server.tls = foreign_certificate[0]
        talk.close()

    with Misbehaving({2: changes}, tls=trusted_tls) as server:
        records = rows(server.url, iters=12)
    failure = records[2]
    assert failure["error"] == "bad_tls" and "certificate" in failure["error_text"].lower()
    for row in records:
        if row["slot"] != failure["slot"] or row["job"] < 2:
            assert_good(row)


def test_garbage_instead_of_a_record_is_bad_tls(trusted_tls):
    def garbage(talk, request):
        with socket.socket(fileno=talk.sock.detach()) as plain:
            plain.sendall(b"HTTP/1.1 400 plain text to a TLS client\r\n\r\n" * 3)
        talk.open = False

    with Misbehaving({2: garbage}, tls=trusted_tls) as server:
        row = only(rows(server.url), 2)
    assert row["error"] == "bad_tls"


def test_handshake_that_stalls_ends_at_the_limit(trusted_tls):
    """In mid-run a connection is opened, and its handshake gets no answer."""

    def next_is_silent(talk, request):
        talk.server.tls = None  # the next connection's handshake gets no answer
        talk.close()

    with Misbehaving({2: next_is_silent}, tls=trusted_tls) as server:
        url = server.url
        row = only(rows(url, timeout_s=1), 2)
    assert row["error"] == "timeout"
