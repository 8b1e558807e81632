"""The epoll transport with another pace than "as soon as a place is free"."""

from __future__ import annotations

import time
from functools import partial

from mls.config.sections.run import Run
from mls.core.units import NS_PER_S
from mls.load.postprocess import Posting
from mls.load.replies import parse
from mls.load.transport.connection import Place
from mls.load.transport.epoll import EpollTransport
from mls.load.transport.exchange import Exchange
from mls.load.transport.routing import Router
from mls.load.transport.spool import Finished
from mls.load.transport.unframe import unframe
from mls.load.workload.arrivals import Arrivals
from mls.load.workload.bodies import WorkloadBodies
from mls.protocol.request import RequestBuilder, Target


class OpenTransport(EpollTransport):
    """An open loop: requests start when they are due, on as many connections as that takes."""

    _arrivals: Arrivals | None = None  # until then: the warm-up
    _idle: list[Place]
    _held_back = False

    def run_arrivals(self, arrivals: Arrivals) -> Finished:
        """Start each arrival when it is due; all exchanges, those included that never started."""
        self._arrivals = self._source = arrivals
        self._done = Finished()
        self._idle = list(reversed(self._places))
        if arrivals.next_ns is not None:
            self._timers.at(arrivals.next_ns, self._on_arrival)
        self._loop()
        return self._done

    def _arrive(self) -> bool:
        """Start all that is due; whether the cap held some of it back.

        The place that was used last is used first: its connection is warm.
        """
        assert self._arrivals is not None
        now, outstanding = time.monotonic_ns(), len(self._places) - len(self._idle)
        for arrival in self._arrivals.ready(now, outstanding):
            if not self._idle:
                self._places.append(Place(len(self._places)))
                self._idle.append(self._places[-1])
            self._start(self._idle.pop(), arrival.job, arrival.due_ns)
        next_ns = self._arrivals.next_ns
        return next_ns is not None and next_ns <= now

    def _on_arrival(self) -> None:
        assert self._arrivals is not None
        self._held_back = self._arrive()
        next_ns = self._arrivals.next_ns
        if next_ns is not None and not self._held_back:
            self._timers.at(next_ns, self._on_arrival)

    def _free(self, place: Place, exchange: Exchange, since_ns: int) -> None:
        if self._arrivals is None:  # the warm-up
            super()._free(place, exchange, since_ns)
            return
        self._idle.append(place)
        now = time.monotonic_ns()
        if now >= self._arrivals.end_ns:
            self._give_up()
        elif self._held_back:
            self._on_arrival()

    def _give_up(self) -> None:
        """Time is over for arrivals that the cap held back until now."""
        assert self._arrivals is not None
        now = time.monotonic_ns()
        for arrival in self._arrivals.rest():
            exchange = Exchange(arrival.job, -1, arrival.due_ns)
            exchange.fail("unfinished", "load.max_inflight held it back until the run's end", now)
            self._done.add(exchange)

    def _limit_ns(self, exchange: Exchange) -> int:
        limit_ns = super()._limit_ns(exchange)
        return limit_ns if self._arrivals is None else min(limit_ns, self._arrivals.end_ns)

    def _out_of_time(self, exchange: Exchange) -> tuple[str, str]:
        if self._arrivals and self._limit_ns(exchange) == self._arrivals.end_ns:
            return "unfinished", "no complete reply load.drain_s after the last arrival"
        return super()._out_of_time(exchange)


class SessionTransport(EpollTransport):
    """A closed loop of users, who think before they go on, and stay on their connection."""

    def __init__(
        self,
        target: Target,
        builder: RequestBuilder,
        run: Run,
        posting: Posting,
        router: Router | None,
        think_s: float,
        bodies: WorkloadBodies | None,
    ) -> None:
        """bodies: of conversations, which go on with what the server said."""
        super().__init__(target, builder, run, posting, router)
        self._think_ns = int(think_s * NS_PER_S)
        self._bodies = bodies

    def _free(self, place: Place, exchange: Exchange, since_ns: int) -> None:
        if exchange.job < 0:  # the warm-up
            super()._free(place, exchange, since_ns)
            return
        job = self._next_turn(exchange)
        due_ns = since_ns + self._think_ns
        if job is not None:
            self._timers.at(due_ns, partial(self._start, place, job, due_ns))
        else:
            self._timers.at(due_ns, partial(self._next, place, due_ns))

    def _next_turn(self, exchange: Exchange) -> int | None:
        """The job that goes on with this conversation; None when it is over, or broke off."""
        if self._bodies is None or exchange.error is not None:
            return None
        unframe(exchange)
        reply = parse(exchange)
        return None if reply.error else self._bodies.next_turn(exchange.job, "".join(reply.text))
