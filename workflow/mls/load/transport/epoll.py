"""The main transport: one epoll loop, no thread and no task per request, nothing parsed but HTTP.

Arrival times are the kernel's (see `timestamps`), so what the loop is busy with can't distort them.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
import ssl
import time
from collections import deque
from functools import partial

import httptools

from mls.config.sections.run import Run
from mls.core.units import NS_PER_S
from mls.load.postprocess import Posting
from mls.load.transport.connection import READ_BYTES, Dialer, Place, no_connection
from mls.load.transport.exchange import (
    MOST_BYTES,
    RETRY_STATUS,
    TOO_LONG,
    Clock,
    Exchange,
    JobSource,
)
from mls.load.transport.limits import NEVER_NS, Limits
from mls.load.transport.retry import FailureHandling
from mls.load.transport.routing import Router
from mls.load.transport.spool import Finished
from mls.load.transport.timers import Timers
from mls.load.transport.timestamps import ANCILLARY_BYTES, WallClock
from mls.load.transport.unframe import HttpReply, arrived_ns
from mls.protocol.request import RequestBuilder, Target

_WAITING_POLL_S = 0.001


class EpollTransport(FailureHandling):
    """See `exchange.Transport`."""

    def __init__(
        self,
        target: Target,
        builder: RequestBuilder,
        run: Run,
        posting: Posting,
        router: Router | None = None,
    ) -> None:
        """router: between several servers, of which `target` is the first."""
        self._posting = posting
        self._router = router
        self._dialers = [Dialer(each) for each in (router.targets if router else [target])]
        self._spares: list[list[Place]] = [[] for _ in self._dialers]
        self._builder = builder
        self._run = run
        self._reuse = run.reuse_connections
        self._timeout_ns = int(run.timeout_s * NS_PER_S)
        self._limits = Limits(run)
        self._look_ns = NEVER_NS if self._limits.every_ns == NEVER_NS else 0
        self._due_ns = (
            NEVER_NS  # when to look at what has a limit; may be too early, never too late
        )
        self._epoll = select.epoll()
        self._timers = Timers()
        self._epoll.register(self._timers.fileno(), select.EPOLLIN)
        self._places: list[Place] = []
        self._by_fd: dict[int, Place] = {}
        self._deadlines: deque[tuple[int, Exchange, Place]] = deque()
        self._waiting: list[tuple[Place, int]] = []  # free places that wait for a job
        self._done = Finished()
        self._refused_since_ns = 0
        self._wall = WallClock()
        self.clock: Clock = "kernel" if all(d.kernel_clock for d in self._dialers) else "user"
        self.gone: str | None = None
        self._source: JobSource

    @property
    def wall_clock_steps(self) -> int:
        return self._wall.steps

    def connect(self, places: int) -> None:
        servers = len(self._dialers)
        self._places = [Place(slot, slot % servers) for slot in range(places)]
        # every server is there, also where there are more of them than places
        for place in [*self._places, *(Place(-1, server) for server in range(places, servers))]:
            place.sock, place.tls = self._dialers[place.server].connect()
            if self._reuse and place.slot >= 0:
                self._watch(place, select.EPOLLIN)
            else:
                place.close()

    def close(self) -> None:
        for place in itertools.chain(self._places, *self._spares):
            self._hang_up(place)
        self._epoll.close()
        for dialer in self._dialers:
            dialer.close()
        self._timers.close()

    def run(self, source: JobSource, starts_ns: list[int]) -> Finished:
        self._source = source
        self._done = Finished()
        for place, start_ns in zip(self._places, starts_ns, strict=True):
            self._timers.at(start_ns, partial(self._next, place, start_ns))
        self._loop()
        return self._done

    def _loop(self) -> None:
        """Until nothing is outstanding and nothing will be.

        Most turns bring one chunk of a reply: nothing else is called for it.
        """
        poll, monotonic_ns = self._epoll.poll, time.monotonic_ns
        by_fd, timers, deadlines = self._by_fd, self._timers, self._deadlines
        wall, posting = self._wall, self._posting
        while True:
            while deadlines and deadlines[0][1].end_ns:
                deadlines.popleft()
            if not (deadlines or timers or self._waiting):
                return
            if timers.next_ns != timers.armed_ns:
                timers.arm()
            asked_ns = monotonic_ns()
            ready = poll(self._pause_s(asked_ns))
            now = monotonic_ns()
            if now >= wall.stale_ns:
                wall.refresh(now)
            for fd, events in ready:
                # what is due can't wait for many reads: these have their times from the kernel
                due_ns = timers.next_ns
                if due_ns is not None and due_ns <= (now := monotonic_ns()):
                    timers.run(now)
                ready_place = by_fd.get(fd)
                if ready_place is None:
                    continue
                if events & select.EPOLLOUT:
                    self._writable(ready_place)
                if events & ~select.EPOLLOUT and ready_place.sock is not None:
                    self._readable(ready_place)
            if timers.next_ns is not None:
                timers.run(monotonic_ns())
            if asked_ns >= self._due_ns or self._waiting:
                self._on_time(asked_ns)
            if posting.active:
                posting.poll()

    # --- time ---

    def _pause_s(self, now: int) -> float | None:
        """How long the loop may sleep; for timers it is woken."""
        if self._waiting:
            return _WAITING_POLL_S
        if self._due_ns == NEVER_NS:
            return None
        return max(0.0, (self._due_ns - now) / NS_PER_S)

    def _on_time(self, now: int) -> None:
        """Limits and waiting places, as of `now`: all that had come by then has been read."""
        deadlines = self._deadlines  # in order: all requests have the same limit
        while deadlines and (deadlines[0][1].end_ns or deadlines[0][0] <= now):
            _, exchange, place = deadlines.popleft()
            if not exchange.end_ns:
                self._hang_up(place)
                place.exchange = exchange  # it may have been waiting for its next attempt
                self._fail(place, *self._out_of_time(exchange))
        if now >= self._look_ns:
            self._look_ns = now + self._limits.every_ns
            for place in self._places:
                if struck := self._limits.struck(place, now):
                    self._cut_off(place, *struck)
        self._due_ns = min(deadlines[0][0], self._look_ns) if deadlines else NEVER_NS
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for place, since_ns in waiting:
                self._next(place, since_ns)

    def _limit_ns(self, exchange: Exchange) -> int:
        """When a request has failed if its reply isn't complete; never less for a later one."""
        return exchange.start_ns + self._timeout_ns

    def _out_of_time(self, _: Exchange) -> tuple[str, str]:
        """Kind of error, and what to say about it."""
        return "timeout", f"no complete reply within {self._run.timeout_s:g} s"

    # --- sending ---

    def _free(self, place: Place, _: Exchange, since_ns: int) -> None:
        """A request has ended, and its place is free."""
        self._next(place, since_ns)

    def _next(self, place: Place, free_since_ns: int) -> None:
        """Start the next job on a free place."""
        job = self._source.draw()
        if job is None:
            if not self._source.exhausted:
                self._waiting.append((place, free_since_ns))
            return
        self._start(place, job, free_since_ns)

    def _start(self, place: Place, job: int, scheduled_ns: int) -> None:
        exchange = Exchange(job, place.slot, scheduled_ns)
        if self._router:
            self._seat(place, exchange, self._router)
        place.exchange = exchange
        self._send(place)
        # after the sending: nothing of ours comes between a place's start and its first byte
        limit_ns = self._limit_ns(exchange)
        self._deadlines.append((limit_ns, exchange, place))
        if limit_ns < self._due_ns or self._look_ns < self._due_ns:
            self._due_ns = min(limit_ns, self._look_ns)

    def _seat(self, place: Place, exchange: Exchange, router: Router) -> None:
        """Give the place a connection to the server that its next request goes to.

        What it had before is kept for whoever goes there next; none is opened ahead.
        """
        busy = (each.server for each in self._places if each.exchange)
        exchange.server = server = router.choose(exchange.job, busy)
        if server == place.server:
            return
        if place.sock is not None:
            spare = Place(-1)
            spare.take_connection(place)
            self._move(spare)
            self._spares[spare.server].append(spare)
        place.server = server
        while place.sock is None and self._spares[server]:
            spare = self._spares[server].pop()
            if spare.sock is not None:  # else the server has closed it
                place.take_connection(spare)
                self._move(place)

    def _move(self, place: Place) -> None:
        assert place.sock is not None
        self._by_fd[place.sock.fileno()] = place

    def _send(self, place: Place) -> None:
        place.begin_reply()
        if place.sock is None:
            self._dial(place)
            return
        exchange = place.exchange
        assert exchange is not None
        wire = self._builder.wire(exchange.job, place.server)
        self._flush(place, place.tls.encrypt(wire) if place.tls else wire)

    def _flush(self, place: Place, data: bytes | memoryview) -> None:
        """Send what the kernel takes now; the rest when it says that it takes more."""
        assert place.sock is not None
        exchange = place.exchange
        if exchange and not exchange.start_ns:
            exchange.start_ns = time.monotonic_ns()
        try:
            sent = place.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._broken(place, error)
            return
        if sent < len(data):
            place.unsent = memoryview(data)[sent:]
            self._epoll.modify(place.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        else:
            place.unsent = b""

    def _dial(self, place: Place) -> None:
        exchange = place.exchange
        assert exchange is not None
        place.dialed_ns = time.monotonic_ns()
        exchange.start_ns = exchange.start_ns or place.dialed_ns  # connecting counts
        place.begin_connection()
        dialer = self._dialers[place.server]
        try:
            place.sock = dialer.new_socket()
            place.fresh = True
            place.connecting = True
            place.tls = dialer.tls()
            code = place.sock.connect_ex(dialer.address)
            self._watch(place, select.EPOLLOUT)
        except OSError as error:  # out of file descriptors
            self._refused(place, no_connection(error.errno))
            return
        if code not in (0, errno.EINPROGRESS):
            self._refused(place, no_connection(code))

    def _writable(self, place: Place) -> None:
        sock = place.sock
        if sock is None:
            return
        if place.connecting:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._refused(place, OSError(code, os.strerror(code)))
                return
            place.connecting = False
            if not place.tls:
                self._connected(place)
                return
            place.unsent = place.tls.handshake()
        self._epoll.modify(sock.fileno(), select.EPOLLIN)
        if place.unsent:
            self._flush(place, place.unsent)

    def _connected(self, place: Place) -> None:
        assert place.sock is not None
        self._refused_since_ns = 0
        self._epoll.modify(place.sock.fileno(), select.EPOLLIN)
        if place.exchange:
            place.exchange.connected_ns = time.monotonic_ns()
            self._send(place)

    # --- receiving ---

    def _readable(self, place: Place) -> None:
        assert place.sock is not None
        try:
            data, ancillary, _, _ = place.sock.recvmsg(READ_BYTES, ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(place, error)
            return
        now = time.monotonic_ns()
        exchange = place.exchange
        if not data:
            self._closed(place)
            return
        if place.tls is not None:
            try:
                plain = self._through_tls(place, data)
            except ssl.SSLError as error:
                self._hang_up(place)
                self._fail(place, "bad_tls", str(error))
                return
            if not plain:
                return
            data = plain
        if exchange is None:
            self._hang_up(place)  # unasked bytes: this connection can't be trusted any more
            return
        stamp = ancillary[0][2] if ancillary else b""  # the only kind that was asked for
        exchange.reads.append((data, stamp, now, self._wall.offset_ns))
        exchange.size += len(data)
        try:
            place.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not place.complete:
                self._hang_up(place)
                self._fail(place, "bad_http", str(error))
                return
            place.keep_alive = False  # bytes after the reply's end
        if place.complete:
            self._complete(place)
        elif exchange.size > MOST_BYTES:
            self._hang_up(place)
            self._fail(place, "too_long", TOO_LONG)

    def _through_tls(self, place: Place, data: bytes) -> bytes:
        tls = place.tls
        assert tls is not None
        if tls.ready:
            return tls.decrypt(data)
        if answer := tls.handshake(data):
            self._flush(place, answer)
        if tls.ready and place.sock is not None:
            self._connected(place)
        return b""

    def _complete(self, place: Place) -> None:
        exchange = place.exchange
        assert exchange is not None
        exchange.clean_end = place.complete
        place.fresh = False
        self._refused_since_ns = 0
        # with bytes unsent it answered without reading the whole request
        if place.unsent or not (place.keep_alive and self._reuse):
            self._hang_up(place)
        if exchange.status in RETRY_STATUS and exchange.attempts <= self._run.retries:
            self._retry(place, HttpReply(exchange.reads).retry_after)
            return
        self._finish(place, arrived_ns(exchange.reads[-1], exchange.start_ns))

    def _finish(self, place: Place, end_ns: int) -> None:
        exchange = place.exchange
        assert exchange is not None
        exchange.end_ns = end_ns
        place.exchange = None
        self._free(place, exchange, end_ns)
        self._done.add(exchange)
        self._posting.finished(exchange)

    def _hang_up(self, place: Place) -> None:
        if place.sock is not None:
            self._by_fd.pop(place.sock.fileno(), None)
            place.close()  # closing takes it out of epoll

    def _watch(self, place: Place, events: int) -> None:
        assert place.sock is not None
        self._by_fd[place.sock.fileno()] = place
        self._epoll.register(place.sock.fileno(), events)
