"""The main transport: one epoll loop without threads or tasks per request, which parses HTTP only.

Arrival times are the kernel's (see `timestamps`), so a busy loop can't distort them.
"""

from __future__ import annotations

import select
import ssl
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

import httptools

from mls.config.sections.run import Run
from mls.core.record import CANCELLED
from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.cancellation import CANCELLED_TEXT, Cancellations
from mls.load.postprocess import Posting
from mls.load.transport.base import Pacing
from mls.load.transport.connection import READ_BYTES, Connection
from mls.load.transport.exchange import MOST_BYTES, TOO_LONG, Clock, Exchange
from mls.load.transport.limits import CONNECT, NEVER_NS, Limits
from mls.load.transport.pool import ConnectionPool
from mls.load.transport.retry import RetryPolicy, ServerWatch, pause_ns
from mls.load.transport.routing import Router
from mls.load.transport.spool import ExchangeSpool
from mls.load.transport.timers import Timers
from mls.load.transport.timestamps import ANCILLARY_BYTES, WallClock
from mls.load.transport.unframe import HttpReply, arrived_ns
from mls.protocol.request import RequestBuilder, Target
from mls.protocol.sse import says_done

LINGER_NS = 50 * NS_PER_MS
"""The time that a reply may stay open after `[DONE]`. Then the connection is closed."""

_WAITING_POLL_S = 0.001
_APART_S = 0.002  # between the openings of two connections that are kept
_MOST_OPENING_S = 2.0


class EpollTransport:
    """See `base.Transport`, `base.Sender` and `pool.Owner`."""

    def __init__(
        self,
        targets: Sequence[Target],
        builder: RequestBuilder,
        run: Run,
        posting: Posting,
        router: Router | None = None,
        cancellations: Cancellations | None = None,
    ) -> None:
        """router: chooses one of several targets; None with a single one."""
        self._cancellations = cancellations
        self._pool = ConnectionPool(targets, self)
        self._router = router
        self._builder = builder
        self._posting = posting
        self._reuse = run.reuse_connections
        self._places = run.inflight  # of all ranks, which open theirs at the same time
        self._timeout_s = run.timeout_s
        self._timeout_ns = int(run.timeout_s * NS_PER_S)
        self._limits = Limits(run)
        self._retries = RetryPolicy(run)
        self._watch = ServerWatch()
        self._look_ns = NEVER_NS if self._limits.every_ns == NEVER_NS else 0
        self._due_ns = NEVER_NS  # when to look at limits next: may be too early, never too late
        self.timers = Timers()
        self._pool.epoll.register(self.timers.fileno(), select.EPOLLIN)
        self._deadlines: deque[tuple[int, Exchange, Connection]] = deque()
        self._spool = ExchangeSpool()
        self._wall = WallClock()
        self._pacing: Pacing
        self.clock: Clock = "kernel" if self._pool.stamped else "user"

    @property
    def gone(self) -> str | None:
        return self._watch.gone

    @property
    def wall_clock_steps(self) -> int:
        return self._wall.steps

    @property
    def connections(self) -> list[Connection]:
        return self._pool.connections

    def connect(self, places: int) -> None:
        within_s = min(_APART_S * self._places, _MOST_OPENING_S) if self._reuse else 0
        self._pool.connect(places, self._reuse, within_s)

    def add_connection(self) -> Connection:
        return self._pool.add()

    def close(self) -> None:
        self._pool.close()
        self.timers.close()

    def run(self, pacing: Pacing) -> ExchangeSpool:
        self._pacing = pacing
        self._spool = ExchangeSpool()
        pacing.begin(self)
        self._loop()
        return self._spool

    def _loop(self) -> None:
        """Run until nothing is outstanding and no job will come.

        Most turns bring one chunk of a reply, so a turn calls as little as possible.
        """
        pool, pacing, timers = self._pool, self._pacing, self.timers
        poll, monotonic_ns = pool.epoll.poll, time.monotonic_ns
        by_fd, deadlines = pool.by_fd, self._deadlines
        wall, posting = self._wall, self._posting
        while True:
            while deadlines and deadlines[0][1].end_ns:
                deadlines.popleft()
            if not (deadlines or timers or pacing.waiting):
                return
            if timers.next_ns != timers.armed_ns:
                timers.arm()
            before_ns = monotonic_ns()
            ready = poll(self._pause_s(before_ns))
            now = monotonic_ns()
            if now >= wall.stale_ns:
                wall.refresh(now)
            for fd, events in ready:
                # timers that are due go before reads, which have their times from the kernel
                due_ns = timers.next_ns
                if due_ns is not None and due_ns <= (now := monotonic_ns()):
                    timers.run(now)
                connection = by_fd.get(fd)
                if connection is None:
                    continue
                if events & select.EPOLLOUT:
                    pool.writable(connection)
                if events & ~select.EPOLLOUT and connection.sock is not None:
                    self._readable(connection)
            if timers.next_ns is not None:
                timers.run(monotonic_ns())
            if before_ns >= self._due_ns or pacing.waiting:
                self._on_time(before_ns)
            if posting.active:
                posting.poll()

    # --- time ---

    def _pause_s(self, now: int) -> float | None:
        """The time in s that the loop may sleep; None: without limit. Timers wake it."""
        if self._pacing.waiting:
            return _WAITING_POLL_S
        if self._due_ns == NEVER_NS:
            return None
        return max(0.0, (self._due_ns - now) / NS_PER_S)

    def _on_time(self, now: int) -> None:
        """Apply limits and serve waiting connections as of `now`; all bytes up to then are read."""
        deadlines = self._deadlines  # in order: all requests have the same limit
        while deadlines and (deadlines[0][1].end_ns or deadlines[0][0] <= now):
            _, exchange, connection = deadlines.popleft()
            if not exchange.end_ns:
                self._pool.hang_up(connection)
                connection.exchange = exchange  # it may have been waiting for its next attempt
                self._fail(connection, *self._out_of_time(exchange))
        if now >= self._look_ns:
            self._look_ns = now + self._limits.every_ns
            for connection in self._pool.connections:
                if breach := self._limits.breach(connection, now):
                    self._cut_off(connection, *breach)
        self._due_ns = min(deadlines[0][0], self._look_ns) if deadlines else NEVER_NS
        if self._pacing.waiting:
            self._pacing.ask_again()

    def _limit_ns(self, exchange: Exchange) -> int:
        """The time at which an incomplete request fails; never earlier for a later request."""
        return min(exchange.start_ns + self._timeout_ns, self._pacing.end_ns)

    def _out_of_time(self, exchange: Exchange) -> tuple[str, str]:
        """Kind and text of the error."""
        if self._limit_ns(exchange) == self._pacing.end_ns:
            return "unfinished", "no complete reply load.drain_s after the last arrival"
        return "timeout", f"no complete reply within {self._timeout_s:g} s"

    # --- sending ---

    def start(self, connection: Connection, job: int, scheduled_ns: int) -> None:
        exchange = Exchange(job, connection.slot, scheduled_ns)
        if self._router:
            busy = (each.server for each in self._pool.connections if each.exchange)
            exchange.server = self._router.choose(job, busy)
            self._pool.go_to(connection, exchange.server)
        connection.exchange = exchange
        self._send(connection)
        # after sending, so that nothing of the client's delays the first byte
        limit_ns = self._limit_ns(exchange)
        self._deadlines.append((limit_ns, exchange, connection))
        if limit_ns < self._due_ns or self._look_ns < self._due_ns:
            self._due_ns = min(limit_ns, self._look_ns)
        if self._cancellations and (after_ns := self._cancellations.after_ns(job)) is not None:
            exchange.cancel_after_ns = after_ns
            cancel = partial(self._cancel, connection, exchange)
            # the deadline keeps the loop going as long as the request is incomplete
            self.timers.optional_at(exchange.start_ns + after_ns, cancel)

    def _cancel(self, connection: Connection, exchange: Exchange) -> None:
        if exchange.end_ns:
            return
        self._pool.hang_up(connection)
        connection.exchange = exchange  # it may have been waiting for its next attempt
        self._fail(connection, CANCELLED, CANCELLED_TEXT)

    def _send(self, connection: Connection) -> None:
        exchange = connection.exchange
        assert exchange is not None
        connection.begin_reply()
        if connection.sock is None:
            now = time.monotonic_ns()
            exchange.start_ns = exchange.start_ns or now  # connecting counts
            self._pool.dial(connection, now)
            return
        wire: bytes = self._builder.wire(exchange.job, connection.server)
        if connection.tls:
            wire = connection.tls.encrypt(wire)
        if not exchange.start_ns:
            exchange.start_ns = time.monotonic_ns()
        self._pool.send(connection, wire)

    def on_open(self, connection: Connection) -> None:
        self._watch.reached()
        if connection.exchange:
            connection.exchange.connected_ns = time.monotonic_ns()
            self._send(connection)

    # --- receiving ---

    def _readable(self, connection: Connection) -> None:
        assert connection.sock is not None
        try:
            data, ancillary, _, _ = connection.sock.recvmsg(READ_BYTES, ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.on_break(connection, error)
            return
        now = time.monotonic_ns()
        exchange = connection.exchange
        if not data:
            self._closed(connection)
            return
        if connection.tls is not None:
            try:
                plain = self._pool.decrypt(connection, data)
            except ssl.SSLError as error:
                self._fail(connection, "bad_tls", str(error), hang_up=True)
                return
            if not plain:
                return
            data = plain
        if exchange is None:
            self._pool.hang_up(connection)  # bytes of no reply: it can't be trusted any more
            return
        stamp = ancillary[0][2] if ancillary else b""  # the only kind that was enabled
        exchange.reads.append((data, stamp, now, self._wall.offset_ns))
        exchange.size += len(data)
        try:
            connection.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not connection.complete:
                self._fail(connection, "bad_http", str(error), hang_up=True)
                return
            connection.keep_alive = False  # bytes after the reply's end
        if connection.complete:
            self._complete(connection)
        elif says_done(data):
            self.timers.at(now + LINGER_NS, partial(self._enough, connection, exchange))
        elif exchange.size > MOST_BYTES:
            self._fail(connection, "too_long", TOO_LONG, hang_up=True)

    def _enough(self, connection: Connection, exchange: Exchange) -> None:
        """Complete a reply that the server holds open after `[DONE]`: nothing of it is missing."""
        if connection.exchange is exchange:
            connection.keep_alive = False
            exchange.held_ns = time.monotonic_ns()
            self._complete(connection, exchange.held_ns)

    def _closed(self, connection: Connection) -> None:
        """Complete the reply if the connection's end is its end, else treat it as broken."""
        exchange = connection.exchange
        if exchange and connection.headers_done and not HttpReply(exchange.reads).framed:
            self._pool.hang_up(connection)  # the reply's end is the connection's
            self._complete(connection)
        else:
            self.on_break(connection, None)

    def _complete(self, connection: Connection, free_ns: int | None = None) -> None:
        """End a request whose reply is complete. free_ns: its place's free time, if not the end."""
        exchange = connection.exchange
        assert exchange is not None
        connection.fresh = False
        self._watch.reached()
        # with bytes unsent it answered without reading the whole request
        if connection.unsent or not (connection.keep_alive and self._reuse):
            self._pool.hang_up(connection)
        if self._retries.after_reply(exchange):
            self._retry(connection, HttpReply(exchange.reads).retry_after)
            return
        exchange.end_ns = end_ns = arrived_ns(exchange.reads[-1], exchange.start_ns)
        connection.exchange = None
        self._pacing.free(connection, exchange, free_ns or end_ns)
        self._spool.add(exchange)
        self._posting.submit(exchange)

    # --- failures ---

    def on_break(self, connection: Connection, error: OSError | None) -> None:
        """Send the request again if that is safe, else fail it."""
        exchange = connection.exchange
        reused = not connection.fresh
        self._pool.hang_up(connection)
        if exchange is None:
            return  # between two requests: the next one opens a new connection
        reason = (error.strerror or str(error)) if error else "the server closed the connection"
        if exchange.reads:
            in_reply = reason if error else f"{reason} in mid-reply"
            self._fail(connection, "closed_early", in_reply)
        elif reused:
            # the server had closed a connection that it kept alive: not an error of anyone's
            exchange.reconnects += 1
            exchange.attempts -= 1
            exchange.begin_attempt()
            self._send(connection)
        elif self._retries.allows(exchange):
            self._retry(connection)
        else:
            self._fail(connection, "reset", reason if error else f"{reason} without a reply")

    def on_refusal(self, connection: Connection, error: OSError) -> None:
        exchange = connection.exchange
        assert exchange is not None
        self._pool.hang_up(connection)
        reason = error.strerror or str(error)
        self._unreachable(connection, reason)
        if self._retries.allows(exchange) and not self.gone:
            self._retry(connection)
        else:
            self._fail(connection, "refused", reason)

    def _unreachable(self, connection: Connection, reason: str) -> None:
        if self._watch.unreachable(self._pool.url(connection), reason):
            self._pacing.source.stop()

    def _cut_off(self, connection: Connection, kind: str, text: str) -> None:
        """Fail a request that has reached a limit. Nothing of it is sent again."""
        self._pool.hang_up(connection)
        if kind == CONNECT:
            self._unreachable(connection, text)
        self._fail(connection, kind, text)

    def _retry(self, connection: Connection, retry_after: str | None = None) -> None:
        exchange = connection.exchange
        assert exchange is not None
        when_ns = time.monotonic_ns() + pause_ns(exchange.attempts, retry_after)
        exchange.begin_attempt()
        connection.exchange = None  # what happens to it meanwhile is not about this request

        def again() -> None:
            if exchange.end_ns:  # it was cancelled meanwhile
                return
            connection.exchange = exchange
            if breach := self._limits.breach(connection, time.monotonic_ns()):
                self._cut_off(connection, *breach)
            else:
                self._send(connection)

        when_ns = min(when_ns, self._limits.first_token_by_ns(exchange) + 1)
        if when_ns < self._limit_ns(exchange):  # else the limit comes first
            self.timers.at(when_ns, again)

    def _fail(self, connection: Connection, kind: str, text: str, hang_up: bool = False) -> None:
        if hang_up:
            self._pool.hang_up(connection)
        exchange = connection.exchange
        if exchange is None:
            return
        now = time.monotonic_ns()
        exchange.fail(kind, text, now)
        connection.exchange = None
        self._spool.add(exchange)
        # by the loop: failures must not recurse
        self.timers.at(now, partial(self._pacing.free, connection, exchange, now))

    def leave_out(self, exchange: Exchange) -> None:
        self._spool.add(exchange)
