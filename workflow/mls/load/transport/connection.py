"""A connection: a non-blocking socket, optional TLS, and the HTTP/1.1 parser."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from enum import Enum
from typing import Any

import httptools

from mls.core.errors import UserError
from mls.load.transport import timestamps
from mls.load.transport.exchange import Exchange
from mls.protocol.request import Target
from mls.server.http.certificates import tls_context

READ_BYTES = 65536
_CONNECT_TIMEOUT_S = 10.0


class State(Enum):
    """The state of a connection."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    """TLS is not ready yet."""
    OPEN = "open"


class Connection:
    """One connection of a rank, on which at most one request is outstanding.

    The connection is the protocol of its httptools parser, which calls the `on_…` methods. Those
    for headers and body are absent on purpose, see `unframe`.
    """

    __slots__ = (
        "complete",
        "dialed_ns",
        "exchange",
        "fresh",
        "headers_done",
        "keep_alive",
        "parser",
        "server",
        "slot",
        "sock",
        "state",
        "tls",
        "unsent",
    )

    def __init__(self, slot: int, server: int = 0) -> None:
        self.slot = slot  # the number of its place on this rank, as in the records
        self.server = server  # number of its server
        self.state = State.CLOSED
        self.sock: socket.socket | None = None
        self.tls: Tls | None = None
        self.exchange: Exchange | None = None
        self.unsent: bytes | memoryview = (
            b""  # of the request, when the kernel did not take it all at once
        )
        self.dialed_ns = 0  # when its opening began, under load
        self.fresh = False  # opened for the request that is on it
        self.begin_connection()

    @property
    def opening(self) -> bool:
        """Whether it is being opened."""
        return self.state in (State.CONNECTING, State.HANDSHAKE)

    def begin_connection(self) -> None:
        """Get ready for the replies on a new socket."""
        self.parser = httptools.HttpResponseParser(self)
        self.begin_reply()

    def begin_reply(self) -> None:
        """Get ready for the next reply on this connection."""
        self.complete = False
        self.headers_done = False
        self.keep_alive = True

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("a second reply to one request")

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200:
            self.headers_done = True
            if self.exchange:
                self.exchange.status = status

    def on_message_complete(self) -> None:
        if self.headers_done:  # not for 100 Continue
            self.complete = True
            self.keep_alive = self.parser.should_keep_alive()

    def take_socket(self, other: Connection) -> None:
        """Take over the socket of a connection on which no request is outstanding."""
        self.sock, self.tls, self.server = other.sock, other.tls, other.server
        self.state, other.state = other.state, State.CLOSED
        other.sock = other.tls = None
        self.fresh = False
        self.begin_connection()

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
        self.sock = None
        self.tls = None
        self.unsent = b""
        self.state = State.CLOSED


class Tls:
    """TLS over the raw socket's bytes, so that each read keeps its kernel timestamp."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.ready = False

    def handshake(self, data: bytes = b"") -> bytes:
        """Continue the handshake. Returns the bytes to send. Raises `ssl.SSLError`."""
        if data:
            self._incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._ssl.do_handshake()
            self.ready = True
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        self._ssl.write(data)
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """The plain bytes of all complete records; b"" without any. Raises `ssl.SSLError`."""
        self._incoming.write(data)
        plain = []
        with contextlib.suppress(ssl.SSLWantReadError):
            while data := self._ssl.read(READ_BYTES):
                plain.append(data)
        return b"".join(plain)


_OWN_LIMITS = {
    errno.EMFILE: "raise `ulimit -n`, lower inflight, or use more ranks",
    errno.ENFILE: "this host may open no more; raise fs.file-max",
    errno.EADDRNOTAVAIL: (
        "this host has no free port left; set run.reuse_connections, widen "
        "net.ipv4.ip_local_port_range, or send from more hosts"
    ),
}
"""Error number → advice, for failures to connect that are not the server's."""


def no_connection(code: int | None) -> OSError:
    """The kernel's error of this number. Its text ends with advice where there is any."""
    text = os.strerror(code or 0)
    return OSError(code, f"{text}: {_OWN_LIMITS[code]}" if code in _OWN_LIMITS else text)


class Dialer:
    """Opens sockets to one target. The name is resolved once, before any load.

    The constructor raises `UserError` when the URL names no host.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        # of a name's addresses (localhost: ::1 and 127.0.0.1) the first that answers is kept
        self._addresses = _addresses(target)
        self._family, self.address = self._addresses[0]
        self._context = tls_context() if target.tls else None
        # the kernel stamps no bytes of a Unix socket
        self._stamping = None if target.unix_path else timestamps.hold()
        self.kernel_clock = self._stamping is not None and timestamps.supported()

    def close(self) -> None:
        if self._stamping:
            self._stamping.close()

    def explain(self, error: OSError) -> str:
        """The reason for a failed connection, as a sentence for the user."""
        url, reason = self.target.url, error.strerror or str(error)
        if isinstance(error, ssl.SSLError):
            return no_trusted_tls(url, reason)
        if error.errno in _OWN_LIMITS:
            return (
                f"This process may not open enough connections to {url} ({reason}): "
                f"{_OWN_LIMITS[error.errno]}."
            )
        return (
            f"The server at {url} can't be reached ({reason}); "
            "expected a running server: start it, or correct the URL."
        )

    def new_socket(self) -> socket.socket:
        """A new non-blocking socket, not connected yet."""
        sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if not self.target.unix_path:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.kernel_clock:
            timestamps.enable(sock)
        return sock

    def tls(self) -> Tls | None:
        return Tls(self._context, self.target.host) if self._context else None

    def connect(self) -> tuple[socket.socket, Tls | None]:
        """A connected socket, TLS done, before any load. Raises `UserError`."""
        try:
            return self._connect_any()
        except OSError as error:
            raise UserError(self.explain(error)) from None

    def _connect_any(self) -> tuple[socket.socket, Tls | None]:
        while True:
            try:
                return self._connect_blocking()
            except ConnectionRefusedError:
                if len(self._addresses) == 1:
                    raise
                self._addresses.pop(0)
                self._family, self.address = self._addresses[0]

    def _connect_blocking(self) -> tuple[socket.socket, Tls | None]:
        sock = self.new_socket()
        try:
            sock.settimeout(_CONNECT_TIMEOUT_S)
            sock.connect(self.address)
            tls = self.tls()
            if tls:
                _shake_hands(sock.sendall, sock.recv, tls)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock, tls


def _addresses(target: Target) -> list[tuple[int, Any]]:
    """Address families and addresses to try, in order. Raises `UserError` when there are none."""
    if target.unix_path:
        return [(socket.AF_UNIX, target.unix_path)]
    try:
        entries = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a port out of range
        raise UserError(f"There is no host at {target.url} ({error}): correct the URL.") from None
    return [(each[0], each[4]) for each in entries]


def no_trusted_tls(url: str, reason: str) -> str:
    """A sentence for the user on a certificate that isn't trusted."""
    return (
        f"There is no trusted TLS connection to {url} ({reason}); for a certificate of your own, "
        "name its file in the environment variable SSL_CERT_FILE."
    )


def _shake_hands(send: Callable[[bytes], None], receive: Callable[[int], bytes], tls: Tls) -> None:
    send(tls.handshake())
    while not tls.ready:
        data = receive(READ_BYTES)
        if not data:
            raise ConnectionResetError("the server closed the connection in the TLS handshake")
        if out := tls.handshake(data):
            send(out)
