"""Who listens at a URL: real sockets of this process and of others."""

import os
import socket
import subprocess
import sys
from urllib.parse import quote

import psutil
import pytest

from mls.host.usage.sockets import Listener, _kernel_address, here, listeners

NOBODY = 65534
MINE = Listener(frozenset({os.getpid()}))


@pytest.mark.parametrize(
    ("family", "address", "host"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.1", "localhost"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.1", "0.0.0.0"),
        (socket.AF_INET6, "::1", "[::1]"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)
def test_a_port_is_known_by_any_name_of_the_host(family, address, host):
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    dual = family == socket.AF_INET6
    with socket.create_server((address, 0), family=family, dualstack_ipv6=dual) as server:
        url = f"http://{host}:{server.getsockname()[1]}"
        assert here(url)
        assert listeners([url]) == [MINE]
        server.shutdown(socket.SHUT_RDWR)  # no longer listens
        assert listeners([url]) == [Listener(hidden="nobody")]


def test_the_closest_address_is_the_one_that_is_reached():
    with socket.create_server(("127.0.0.1", 0)) as near:
        port = near.getsockname()[1]
        listen = f"import socket; s = socket.create_server(('127.0.0.2', {port})); print(); input()"
        with subprocess.Popen(
            [sys.executable, "-c", listen],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            other.stdout.readline()
            urls = [f"http://127.0.0.{n}:{port}" for n in (1, 2, 3)]
            assert listeners(urls) == [
                MINE,
                Listener(frozenset({other.pid})),
                Listener(hidden="nobody"),
            ]
            other.communicate(b"\n")


def test_all_that_hold_a_socket_are_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.set_inheritable(server.fileno(), True)
        with subprocess.Popen(
            [sys.executable, "-c", "print(); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        ) as child:
            child.stdout.readline()
            (listener,) = listeners([f"http://127.0.0.1:{server.getsockname()[1]}"])
            assert listener == Listener(frozenset({os.getpid(), child.pid}))
            child.communicate(b"\n")


def test_a_unix_socket_is_known_by_its_path(tmp_path):
    path = tmp_path / "server.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        url = f"http+unix://{quote(str(path), safe='')}"
        assert here(url)
        assert listeners([url]) == [MINE]
    path.unlink()
    assert listeners([url]) == [Listener(hidden="nobody")]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_another_users_process_is_not_looked_into():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.setuid(NOBODY)
            server.close()
            os.write(writing, repr(listeners([url])[0][1:]).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert pipe.read() == "('other user', 'root')"
        os.waitpid(child, 0)


def test_addresses_of_this_host_are_here_and_others_are_not():
    own = [
        one.address
        for each in psutil.net_if_addrs().values()
        for one in each
        if one.family == socket.AF_INET
    ]
    assert all(here(f"http://{address}:8090") for address in own)
    assert not here("http://192.0.2.1:8090")  # reserved for documentation (RFC 5737)
    assert not here("http://no-such-host.invalid:8090")


@pytest.mark.skipif(sys.byteorder != "little", reason="as little-endian hosts print it")
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),
        ("00000000000000000000000001000000", "::1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_addresses_as_the_kernel_prints_them(text, address):
    assert str(_kernel_address(text)) == address
