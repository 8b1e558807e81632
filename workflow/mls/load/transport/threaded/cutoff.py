"""The limit of a whole request on the `requests` transport.

The limits of `requests` are for each read, so a server that sends a byte now and then would hold a
request for ever. A `Cutoff` knows the connections of a place, and another thread shuts them down
when the time is over.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import requests
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from mls.server.http.adapter import TrustingAdapter

_LOOK_EVERY_S = 0.05


class Cutoff:
    """The connections of a place, one a server, and the limit of its request.

    The limit is a moment of `CLOCK_MONOTONIC` in ns.
    """

    def __init__(self) -> None:
        self._socks: list[socket.socket] = []
        self._limit_ns: int | None = None
        self._has_cut = False
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def at(self, limit_ns: int) -> Iterator[None]:
        """A context in which this thread's connections are shut down once the limit has passed.

        Raises `requests.Timeout` at its end if that happened, whatever was read.
        """
        _here.cutoff = self
        with self._lock:
            self._limit_ns = limit_ns
        try:
            yield
        finally:
            with self._lock:
                self._limit_ns = None
                was_cut, self._has_cut = self._has_cut, False
            if was_cut:
                raise requests.Timeout

    def keep(self, sock: socket.socket) -> None:
        with self._lock:
            still_open = [each for each in self._socks if each.fileno() >= 0]
            self._socks = [*still_open, sock]

    def look(self, now_ns: int) -> None:
        with self._lock:
            if self._limit_ns is None or now_ns < self._limit_ns:
                return
            self._has_cut = True
            for sock in self._socks:
                with contextlib.suppress(OSError):  # it is closed already
                    # under TLS too: what matters is that the reader wakes up
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


@contextlib.contextmanager
def watched(cutoffs: list[Cutoff]) -> Iterator[None]:
    """A context in which a thread applies the limits of these cutoffs."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY_S):
            for cutoff in cutoffs:
                cutoff.look(time.monotonic_ns())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


_here = threading.local()
"""`cutoff`: of the place whose thread this is."""


def _keep(sock: socket.socket | None) -> None:
    cutoff: Cutoff | None = getattr(_here, "cutoff", None)
    if cutoff and sock:
        cutoff.keep(sock)


class _Http(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _keep(self.sock)


class _Https(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _keep(self.sock)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class OneAtATime(TrustingAdapter):
    """An adapter with one connection to each server, registered with its thread's `Cutoff`."""

    def __init__(self, servers: int, context: ssl.SSLContext | None) -> None:
        super().__init__(context, pool_connections=servers, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _take_ours(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **options)
        _take_ours(manager)
        return manager


def _take_ours(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
