"""The connections of a rank: opening, watching, moving them between places, and closing."""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Protocol

from mls.load.transport.connection import Connection, Dialer, State, no_connection
from mls.protocol.request import Target


class Owner(Protocol):
    """The owner of a pool, which sends on its connections. The pool reports events to it."""

    def on_open(self, connection: Connection) -> None:
        """Called when the connection is open."""
        ...

    def on_refusal(self, connection: Connection, error: OSError) -> None:
        """Called when the connection could not be opened."""
        ...

    def on_break(self, connection: Connection, error: OSError | None) -> None:
        """Called when the connection broke. error: None when the server closed it."""
        ...


class ConnectionPool:
    """A rank's connections. The loop of the owner waits with `epoll` and `by_fd`."""

    def __init__(self, targets: Sequence[Target], owner: Owner) -> None:
        """Raises `UserError`, see `Dialer`."""
        self.dialers = [Dialer(target) for target in targets]
        self.epoll = select.epoll()
        self.by_fd: dict[int, Connection] = {}
        self.connections: list[Connection] = []
        self._spares: list[list[Connection]] = [[] for _ in targets]
        self._owner = owner

    @property
    def stamped(self) -> bool:
        """Whether bytes of every server have kernel timestamps."""
        return all(dialer.kernel_clock for dialer in self.dialers)

    def url(self, connection: Connection) -> str:
        """The URL of the connection's server."""
        return self.dialers[connection.server].target.url

    def connect(self, count: int, keep_open: bool, within_s: float = 0) -> None:
        """Open connections, before any load. Raises `UserError` when a server isn't there.

        within_s: time to spread them over. Processes of a server that share a listening socket take
        what has queued up there: of hundreds of connections at one instant, the first to wake takes
        most, and serves them for the whole run.
        """
        servers = len(self.dialers)
        self.connections = [Connection(slot, slot % servers) for slot in range(count)]
        # every server is tried, even when they outnumber the connections
        trials = (Connection(-1, server) for server in range(count, servers))
        for connection in [*self.connections, *trials]:
            if connection.slot > 0:
                time.sleep(within_s / count)
            connection.sock, connection.tls = self.dialers[connection.server].connect()
            connection.state = State.OPEN
            if keep_open and connection.slot >= 0:
                self._watch(connection, select.EPOLLIN)
            else:
                connection.close()

    def add(self) -> Connection:
        """Add a connection that is not open yet."""
        connection = Connection(len(self.connections))
        self.connections.append(connection)
        return connection

    def close(self) -> None:
        for connection in itertools.chain(self.connections, *self._spares):
            self.hang_up(connection)
        self.epoll.close()
        for dialer in self.dialers:
            dialer.close()

    def go_to(self, connection: Connection, server: int) -> None:
        """Connect a place to this server from now on.

        Its former socket is kept for the next request to its server. None is opened in advance.
        """
        if server == connection.server:
            return
        if connection.sock is not None:
            spare = Connection(-1)
            spare.take_socket(connection)
            self._register(spare)
            self._spares[spare.server].append(spare)
        connection.server = server
        while connection.sock is None and self._spares[server]:
            spare = self._spares[server].pop()
            if spare.sock is not None:  # else the server has closed it
                connection.take_socket(spare)
                self._register(connection)

    def dial(self, connection: Connection, now_ns: int) -> None:
        """Begin to open a connection, under load. The owner learns when it is open or refused."""
        connection.dialed_ns = now_ns
        connection.begin_connection()
        dialer = self.dialers[connection.server]
        try:
            connection.sock = dialer.new_socket()
            connection.fresh = True
            connection.state = State.CONNECTING
            connection.tls = dialer.tls()
            code = connection.sock.connect_ex(dialer.address)
            self._watch(connection, select.EPOLLOUT)
        except OSError as error:  # out of file descriptors
            self._owner.on_refusal(connection, no_connection(error.errno))
            return
        if code not in (0, errno.EINPROGRESS):
            self._owner.on_refusal(connection, no_connection(code))

    def send(self, connection: Connection, data: bytes | memoryview) -> None:
        """Send as much as the kernel takes now, and the rest when it takes more."""
        assert connection.sock is not None
        try:
            count = connection.sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self._owner.on_break(connection, error)
            return
        if count < len(data):
            connection.unsent = memoryview(data)[count:]
            self.epoll.modify(connection.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        else:
            connection.unsent = b""

    def writable(self, connection: Connection) -> None:
        """Handle a writable socket: more can be sent, or an opening has succeeded or failed."""
        sock = connection.sock
        if sock is None:
            return
        if connection.state is State.CONNECTING:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._owner.on_refusal(connection, OSError(code, os.strerror(code)))
                return
            if not connection.tls:
                self._opened(connection)
                return
            connection.state = State.HANDSHAKE
            connection.unsent = connection.tls.handshake()
        self.epoll.modify(sock.fileno(), select.EPOLLIN)
        if connection.unsent:
            self.send(connection, connection.unsent)

    def decrypt(self, connection: Connection, data: bytes) -> bytes:
        """The plain bytes of TLS data; b"" during the handshake. Raises `ssl.SSLError`."""
        tls = connection.tls
        assert tls is not None
        if tls.ready:
            return tls.decrypt(data)
        if answer := tls.handshake(data):
            self.send(connection, answer)
        if tls.ready and connection.sock is not None:
            self._opened(connection)
        return b""

    def hang_up(self, connection: Connection) -> None:
        """Close the connection's socket, if it has one."""
        if connection.sock is not None:
            self.by_fd.pop(connection.sock.fileno(), None)
            connection.close()  # closing takes it out of epoll

    def _opened(self, connection: Connection) -> None:
        assert connection.sock is not None
        connection.state = State.OPEN
        self.epoll.modify(connection.sock.fileno(), select.EPOLLIN)
        self._owner.on_open(connection)

    def _watch(self, connection: Connection, events: int) -> None:
        assert connection.sock is not None
        self._register(connection)
        self.epoll.register(connection.sock.fileno(), events)

    def _register(self, connection: Connection) -> None:
        assert connection.sock is not None
        self.by_fd[connection.sock.fileno()] = connection
