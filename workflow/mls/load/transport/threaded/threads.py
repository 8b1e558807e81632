"""The plain transport: `requests` with one thread a place, as a second opinion.

Its times are user-space times, which are accurate up to some 32 requests in flight
(`benchmarks/accuracy.py`).
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, RemoteDisconnected

import requests
from requests_unixsocket.adapters import UnixAdapter
from urllib3.exceptions import DecodeError, HTTPError, NewConnectionError, ProtocolError
from urllib3.exceptions import TimeoutError as ReadTimeout

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.core.record import CANCELLED
from mls.core.units import NS_PER_S
from mls.load.cancellation import CANCELLED_TEXT, Cancellations
from mls.load.postprocess import Posting
from mls.load.transport.base import Pacing
from mls.load.transport.connection import no_trusted_tls
from mls.load.transport.exchange import MOST_BYTES, TOO_LONG, Clock, Exchange, JobSource
from mls.load.transport.limits import CONNECT
from mls.load.transport.pacing import ClosedLoop
from mls.load.transport.retry import RetryPolicy, ServerWatch, pause_ns
from mls.load.transport.routing import Router
from mls.load.transport.spool import ExchangeSpool
from mls.load.transport.threaded.cutoff import Cutoff, OneAtATime, watched
from mls.protocol.request import RequestBuilder, Target
from mls.server.access import without_password
from mls.server.http.certificates import tls_context
from mls.server.http.interim import look_behind_interim_replies

_CONNECT_S = 10
_ROOT_S = 3


class ThreadsTransport:
    """See `base.Transport`."""

    clock: Clock = "user"
    wall_clock_steps = 0  # its times don't come from the wall clock

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
        self._router = router
        self._targets = targets
        self._busy: dict[int, int] = {}  # place → server of its outstanding request
        self._posting = posting
        self._builder = builder
        self._run = run
        self._connect_s = min(run.timeout_s, run.timeout_connect_s or run.timeout_s)
        self._sessions: list[requests.Session] = []
        self._cutoffs: list[Cutoff] = []
        self._lock = threading.Lock()
        self._retries = RetryPolicy(run)
        self._watch = ServerWatch()

    @property
    def gone(self) -> str | None:
        return self._watch.gone

    def connect(self, places: int) -> None:
        servers = len(self._targets)
        context = tls_context() if any(one.tls for one in self._targets) else None
        proxy = self._targets[0].proxy
        self._sessions = [_session(proxy, servers, context) for _ in range(places)]
        self._cutoffs = [Cutoff() for _ in range(places)]
        for target in self._targets:
            limit_ns = time.monotonic_ns() + _CONNECT_S * NS_PER_S
            try:
                with watched(self._cutoffs), self._cutoffs[0].at(limit_ns):
                    self._open(target)
            except requests.exceptions.ReadTimeout:
                pass
            except requests.exceptions.SSLError as error:
                raise UserError(no_trusted_tls(target.url, str(error))) from None
            except requests.RequestException as error:
                via = f" through the proxy {without_password(proxy)}" if proxy else ""
                raise UserError(
                    f"The server at {target.url} can't be reached{via} ({type(error).__name__}); "
                    "expected a running server: start it, or correct the URL."
                ) from None

    def _open(self, target: Target) -> None:
        """Connect the first session: any answer will do, and one that breaks off as well."""
        limits = (_CONNECT_S, _ROOT_S)
        answer = self._sessions[0].get(
            target.url, stream=True, timeout=limits, allow_redirects=False
        )
        # read whole, so that the connection is kept for the load
        with answer, contextlib.suppress(HTTPError):
            answer.raw.read()

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    def run(self, pacing: Pacing) -> ExchangeSpool:
        assert isinstance(pacing, ClosedLoop)  # the config allows no other for this transport
        source, starts_ns = pacing.source, pacing.starts_ns
        spool = ExchangeSpool()
        with watched(self._cutoffs), ThreadPoolExecutor(len(self._sessions)) as pool:
            list(
                pool.map(
                    lambda slot: self._place(slot, source, starts_ns[slot], spool),
                    range(len(starts_ns)),
                )
            )
        return spool

    def _place(self, slot: int, source: JobSource, start_ns: int, spool: ExchangeSpool) -> None:
        time.sleep(max(0, start_ns - time.monotonic_ns()) / NS_PER_S)
        free_since_ns = start_ns
        while True:
            with self._lock:
                job = source.draw()
                exhausted = source.exhausted
            if job is not None:
                exchange = Exchange(job, slot, free_since_ns)
                if self._router:
                    with self._lock:
                        server = self._router.choose(job, self._busy.values())
                        exchange.server = self._busy[slot] = server
                self._perform(exchange, source)
                self._busy.pop(slot, None)
                free_since_ns = exchange.end_ns
                with self._lock:
                    spool.add(exchange)
                    self._posting.submit(exchange)
                    self._posting.poll()
            elif exhausted:
                return
            else:
                time.sleep(0.001)

    def _perform(self, exchange: Exchange, source: JobSource) -> None:
        exchange.start_ns = time.monotonic_ns()
        limit_ns = exchange.start_ns + int(self._run.timeout_s * NS_PER_S)
        if self._cancellations:
            exchange.cancel_after_ns = self._cancellations.after_ns(exchange.job)
        if exchange.cancel_after_ns is not None:
            limit_ns = min(limit_ns, exchange.start_ns + exchange.cancel_after_ns)
        while True:
            retry_after = None
            try:
                with self._cutoffs[exchange.slot].at(limit_ns):
                    retry_after = self._attempt(exchange)
                self._watch.reached()
                if not self._retries.after_reply(exchange):
                    exchange.end_ns = exchange.read_ns[-1]
                    return
            except _TooLongError:
                exchange.fail("too_long", TOO_LONG, time.monotonic_ns())
                return
            except (requests.Timeout, ReadTimeout):
                self._time_out(exchange, limit_ns, source)
                return
            except (requests.RequestException, HTTPError, OSError) as error:
                kind = _kind(error, exchange)
                if kind == "refused":
                    self._note_refusal(exchange, str(error), source)
                safe = kind in ("refused", "reset")
                if not safe or not self._retries.allows(exchange) or self.gone:
                    exchange.fail(kind, str(error), time.monotonic_ns())
                    return
            pause = pause_ns(exchange.attempts, retry_after)
            rest_ns = limit_ns - time.monotonic_ns()
            time.sleep(max(0, min(pause, rest_ns)) / NS_PER_S)
            if pause >= rest_ns:
                self._time_out(exchange, limit_ns, source)
                return
            exchange.begin_attempt()

    def _attempt(self, exchange: Exchange) -> str | None:
        """Make one attempt. Returns the Retry-After header. Raises as `requests` and urllib3 do."""
        session = self._sessions[exchange.slot]
        response = session.post(
            self._builder.url(exchange.server),
            data=self._builder.body(exchange.job),
            headers=self._builder.headers(exchange.job),
            stream=True,
            timeout=(self._connect_s, self._run.timeout_s),
            allow_redirects=False,
        )
        with response:
            raw = response.raw
            exchange.status = response.status_code
            exchange.location = response.headers.get("Location")
            kind = response.headers.get("Content-Type", "").lower()
            exchange.event_stream = kind.startswith("text/event-stream")
            # read1 hands out what has come; iter_content would wait for full blocks
            while data := raw.read1(decode_content=True):
                now = time.monotonic_ns()
                exchange.arrived_ns.append(now)
                exchange.read_ns.append(now)
                exchange.pieces.append((data, len(exchange.read_ns) - 1))
                exchange.size += len(data)
                if exchange.size > MOST_BYTES:
                    raise _TooLongError
            if raw.length_remaining:  # read1 takes an early end for the end
                raise ProtocolError("the server closed the connection in mid-reply")
            if not exchange.read_ns:
                now = time.monotonic_ns()
                exchange.arrived_ns.append(now)
                exchange.read_ns.append(now)
            return response.headers.get("Retry-After")

    def _time_out(self, exchange: Exchange, limit_ns: int, source: JobSource) -> None:
        now = time.monotonic_ns()
        if now < limit_ns:  # each read may take as long as all: it was the connection
            text = f"no connection within {self._connect_s:g} s"
            self._note_refusal(exchange, text, source)
            exchange.fail(CONNECT, text, now)
        elif limit_ns - exchange.start_ns == exchange.cancel_after_ns:
            exchange.fail(CANCELLED, CANCELLED_TEXT, now)
        else:
            exchange.fail("timeout", f"no complete reply within {self._run.timeout_s:g} s", now)

    def _target(self, exchange: Exchange) -> Target:
        return self._targets[exchange.server or 0]

    def _note_refusal(self, exchange: Exchange, reason: str, source: JobSource) -> None:
        with self._lock:
            if self._watch.unreachable(self._target(exchange).url, reason):
                source.stop()


class _TooLongError(Exception):
    """A reply is longer than `MOST_BYTES`."""


def _kind(error: Exception, exchange: Exchange) -> str:
    """The kind of an error, one of those of the main transport."""
    cause = error.args[0] if error.args else None
    if isinstance(error, DecodeError):
        return "bad_encoding"
    if exchange.status:
        return "closed_early"
    if isinstance(error, requests.exceptions.SSLError):
        return "bad_tls"
    if isinstance(getattr(cause, "reason", None), NewConnectionError):
        return "refused"
    detail = cause.args[-1] if isinstance(cause, ProtocolError) else None
    if isinstance(detail, HTTPException) and not isinstance(detail, RemoteDisconnected):
        return "bad_http"
    return "reset"


def _session(proxy: str | None, servers: int, context: ssl.SSLContext | None) -> requests.Session:
    look_behind_interim_replies()
    session = requests.Session()
    # no proxy and no key of a .netrc unless the config asks for it
    session.trust_env = False
    session.proxies = {"http": proxy, "https": proxy} if proxy else {}
    session.mount("http+unix://", UnixAdapter())  # type: ignore[no-untyped-call]
    session.mount("http://", OneAtATime(servers, context))
    session.mount("https://", OneAtATime(servers, context))
    return session
