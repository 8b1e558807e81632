"""What the epoll transport does when something goes wrong: send again where that is safe, else fail."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from functools import partial

from mls.config.sections.run import Run
from mls.core.units import NS_PER_S
from mls.load.transport.connection import Dialer, Place
from mls.load.transport.exchange import GONE_AFTER_NS, Exchange, JobSource, pause_ns
from mls.load.transport.limits import CONNECT, Limits
from mls.load.transport.spool import Finished
from mls.load.transport.timers import Timers
from mls.load.transport.unframe import HttpReply


class FailureHandling(ABC):
    """The part of `epoll.EpollTransport` that is about failures; none of it runs while all is well."""

    _dialers: list[Dialer]
    _run: Run
    _limits: Limits
    _timers: Timers
    _source: JobSource
    _done: Finished
    _refused_since_ns: int
    gone: str | None

    @abstractmethod
    def _send(self, place: Place) -> None:
        """Send the request of the place's exchange."""

    @abstractmethod
    def _complete(self, place: Place) -> None:
        """The reply on this place has come to its end."""

    @abstractmethod
    def _free(self, place: Place, exchange: Exchange, since_ns: int) -> None:
        """A request has ended, and its place is free."""

    @abstractmethod
    def _hang_up(self, place: Place) -> None:
        """Close the place's connection."""

    @abstractmethod
    def _limit_ns(self, exchange: Exchange) -> int:
        """When a request has failed if its reply isn't complete; never less for a later one."""

    def _closed(self, place: Place) -> None:
        """The server closed the connection."""
        exchange = place.exchange
        if exchange and place.headers_done and not HttpReply(exchange.reads).framed:
            self._hang_up(place)  # the reply's end is the connection's
            self._complete(place)
        else:
            self._broken(place, None)

    def _broken(self, place: Place, error: OSError | None) -> None:
        """The connection broke: send again if that is safe, else fail."""
        exchange = place.exchange
        reused = not place.fresh
        self._hang_up(place)
        if exchange is None:
            return  # between two requests: the next one opens a new connection
        if exchange.reads:
            text = error.strerror if error else "the server closed the connection in mid-reply"
            self._fail(place, "closed_early", text or str(error))
        elif reused:
            # the server had closed a connection that it kept alive: not an error of anyone's
            exchange.reconnects += 1
            exchange.attempts -= 1
            exchange.begin_attempt()
            self._send(place)
        elif exchange.attempts <= self._run.retries:
            self._retry(place)
        else:
            text = error.strerror if error else "the server closed the connection without a reply"
            self._fail(place, "reset", text or str(error))

    def _refused(self, place: Place, error: OSError) -> None:
        """No connection could be made."""
        exchange = place.exchange
        assert exchange is not None
        self._hang_up(place)
        text = error.strerror or str(error)
        self._unreachable(place, text)
        if exchange.attempts <= self._run.retries and not self.gone:
            self._retry(place)
        else:
            self._fail(place, "refused", text)

    def _unreachable(self, place: Place, text: str) -> None:
        """Give the server up when there has been no connection for too long."""
        now = time.monotonic_ns()
        self._refused_since_ns = self._refused_since_ns or now
        if now - self._refused_since_ns > GONE_AFTER_NS and not self.gone:
            self.gone = (
                f"The server at {self._dialers[place.server].target.url} has gone: no connection for "
                f"{GONE_AFTER_NS // NS_PER_S} s ({text})."
            )
            self._source.stop()

    def _cut_off(self, place: Place, kind: str, text: str) -> None:
        """A limit within the request has struck: nothing of it is sent again."""
        self._hang_up(place)
        if kind == CONNECT:
            self._unreachable(place, text)
        self._fail(place, kind, text)

    def _retry(self, place: Place, retry_after: str | None = None) -> None:
        exchange = place.exchange
        assert exchange is not None
        when_ns = time.monotonic_ns() + pause_ns(exchange.attempts, retry_after)
        exchange.begin_attempt()
        place.exchange = None  # what the connection does meanwhile is not about this request

        def again() -> None:
            place.exchange = exchange
            if struck := self._limits.struck(place, time.monotonic_ns()):
                self._cut_off(place, *struck)
            else:
                self._send(place)

        when_ns = min(when_ns, self._limits.first_token_by_ns(exchange) + 1)
        if when_ns < self._limit_ns(exchange):  # else the limit comes first
            self._timers.at(when_ns, again)

    def _fail(self, place: Place, kind: str, text: str) -> None:
        exchange = place.exchange
        if exchange is None:
            return
        now = time.monotonic_ns()
        exchange.fail(kind, text, now)
        place.exchange = None
        self._done.add(exchange)
        self._timers.at(
            now, partial(self._free, place, exchange, now)
        )  # by the loop: failures must not recurse
