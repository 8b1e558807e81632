"""Servers that aren't there, and servers that disappear."""

import resource
import socket

import pytest
from tests.faults.driving import assert_good, both, gather, rows
from tests.servers.misbehaving import Misbehaving, good

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.core.units import NS_PER_MS
from mls.load.postprocess import Posting
from mls.load.transport import connection, retry
from mls.load.transport.epoll import EpollTransport
from mls.protocol.request import RequestBuilder, Target

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def set_gone_after(monkeypatch):
    """A function that sets after how many ns without a connection a server counts as gone."""

    def set_ns(ns):
        monkeypatch.setattr(retry, "GONE_AFTER_NS", ns)

    return set_ns


@pytest.fixture
def closed_port():
    """A port that this process holds, and at which nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def assert_one_sentence(error, *words):
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")
    for word in words:
        assert word in text


@both
def test_no_server_is_one_sentence(closed_port, transport):
    url = f"http://127.0.0.1:{closed_port}"
    with pytest.raises(UserError) as error:
        rows(url, transport=transport)
    assert_one_sentence(error, url, "start it")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", f"http://{'a' * 70}.example:80"])
def test_url_without_a_host_is_one_sentence(url):
    with pytest.raises(UserError) as error:
        rows(url)
    assert_one_sentence(error, url, "correct the URL")


def test_name_that_does_not_resolve_is_one_sentence(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError) as error:
        rows("http://server.example:80")
    assert_one_sentence(error, "http://server.example:80", "correct the URL")


def test_all_addresses_of_a_name_are_tried(monkeypatch):
    """The name localhost is ::1 and 127.0.0.1, and many servers listen at one of them only."""
    with Misbehaving() as server:
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, server.port))
            for host in ("127.0.0.2", "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        for row in rows(f"http://localhost:{server.port}", reuse_connections=False):
            assert_good(row)


@both
def test_server_that_disappears_ends_the_run(set_gone_after, transport):
    set_gone_after(500 * NS_PER_MS)

    def last(talk, request):
        good(talk, request)
        talk.server.vanish()

    with Misbehaving({10: last}) as server:
        harvest = gather(server.url, transport=transport, iters=10_000)
    records = harvest.table.to_pylist()
    assert harvest.ranks[0]["gone"].startswith(f"The server at {server.url} has gone")
    assert [row["job"] for row in records] == list(range(len(records)))  # all are recorded
    assert 11 < len(records) < 1000
    before = [row for row in records[:10] if row["error"] is None]
    assert len(before) >= 9  # the other place's request may have been in mid-reply just then
    for row in before:
        assert_good(row)
    errors = [row["error"] for row in records if row["error"]]
    assert errors[-1] == "refused" and {*errors} <= {"refused", "reset", "closed_early"}


@both
def test_server_that_disappears_ends_a_timed_run_early(set_gone_after, transport):
    set_gone_after(0)
    with Misbehaving({10: lambda talk, request: talk.server.vanish()}) as server:
        harvest = gather(server.url, transport=transport, duration_s=1000)
    assert harvest.ranks[0]["gone"]


@both
def test_server_that_comes_back_is_used_again(transport):
    def leaves_for_a_moment(talk, request):
        if request.attempt == 1:
            talk.server.vanish()
            talk.server.over.wait(0.05)
            talk.server.reappear()
        else:
            good(talk, request)

    with Misbehaving({4: leaves_for_a_moment}) as server:
        harvest = gather(server.url, transport=transport, iters=40, retries=5)
    assert harvest.ranks[0]["gone"] is None
    for row in harvest.table.to_pylist():
        # the other place's request may have been in mid-reply just then
        if row["error"] != "closed_early":
            assert_good(row)


def test_server_that_refuses_one_place_but_serves_another_is_not_gone(set_gone_after):
    """Refused connections of one place prove nothing while another place keeps its connection."""
    set_gone_after(300 * NS_PER_MS)
    refused_jobs = []

    def slow(talk, request):
        if not refused_jobs:  # one place loses its connection, and never gets another
            refused_jobs.append(request.job)
            talk.server.deafen()
            talk.close()
        else:
            talk.server.over.wait(0.05)
            good(talk, request)

    with Misbehaving(default=slow) as server:
        harvest = gather(server.url, duration_s=1.5)
    records = harvest.table.to_pylist()
    assert harvest.ranks[0]["gone"] is None
    assert sum(row["error"] == "refused" for row in records) >= 3
    replies = [row for row in records if row["error"] is None]
    assert len(replies) > 5
    for row in replies:
        assert_good(row)


@both
def test_server_that_is_lost_in_the_warm_up_is_one_sentence(set_gone_after, transport):
    set_gone_after(0)
    with Misbehaving({-1: lambda talk, request: talk.server.vanish()}) as server:
        with pytest.raises(UserError) as error:
            rows(server.url, transport=transport, warmup=3)
        assert_one_sentence(error, server.url, "has gone")


@pytest.fixture
def few_files():
    """A soft limit of open files that leaves room for some 30 more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as newest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (newest.fileno() + 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_places_than_the_soft_limit_of_open_files(request):
    """Server and client are one process here, so 40 places need 80 files."""
    with Misbehaving() as server:
        request.getfixturevalue("few_files")
        for row in rows(server.url, inflight=40, iters=60):
            assert_good(row) if row["error"] is None else pytest.fail(str(row))


def test_too_few_files_are_named(request):
    run = Run(inflight=100, ranks=1)
    with Misbehaving() as server:
        target = Target(server.url)
        builder = RequestBuilder([target], run, served_as=None, seed=1, run_id="t")
        transport = EpollTransport([target], builder, run, Posting(run, 0))
        request.getfixturevalue("few_files")
        with pytest.raises(UserError) as error:
            transport.connect(100)
        transport.close()
    assert_one_sentence(error, "ulimit -n")


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_ipv6():
    try:
        server = Misbehaving(host="::1")
    except OSError:
        pytest.skip("this host has no IPv6 loopback")
    with server:
        for row in rows(server.url):
            assert_good(row)
        assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


def test_host_without_kernel_timestamps(monkeypatch):
    monkeypatch.setattr(connection.timestamps, "supported", lambda: False)
    with Misbehaving() as server:
        harvest = gather(server.url)
    assert harvest.ranks[0]["clock"] == "user"
    for row in harvest.table.to_pylist():
        assert_good(row)
        assert row["chunk_lag_ns"] == [0] * row["chunks"]
