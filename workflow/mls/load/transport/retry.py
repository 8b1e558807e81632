"""What follows a failure: when a request is sent again, and when its server is given up on."""

from __future__ import annotations

import time

from mls.config.sections.run import Run
from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.transport.exchange import Exchange

GONE_AFTER_NS = 5 * NS_PER_S
"""No connection could be made for so long: the server is given up on."""

_BUSY = (429, 503)
"""The server says that it did not take on the request, and to come again."""

_BACKOFF_NS = 100 * NS_PER_MS
_LONGEST_PAUSE_S = 60


class RetryPolicy:
    """The `run.retries` of a request. Only what the server has not begun to answer is sent again."""

    def __init__(self, run: Run) -> None:
        self._retries = run.retries

    def allows(self, exchange: Exchange) -> bool:
        """Whether one more attempt may follow the one that has failed."""
        return exchange.attempts <= self._retries

    def after_reply(self, exchange: Exchange) -> bool:
        """Whether its complete reply asks for one more attempt, and that is allowed."""
        return exchange.status in _BUSY and self.allows(exchange)


def pause_ns(attempts: int, retry_after: str | None = None) -> int:
    """How long to wait after so many attempts: 0.1 s, then twice as long each time, up to 60 s.

    retry_after: the header, which may ask for more. Seconds (RFC 9110, 10.2.3); its date form is
    treated as absent.
    """
    wanted_s = int(retry_after[:9]) if retry_after and retry_after.isdecimal() else 0
    longest_ns = _LONGEST_PAUSE_S * NS_PER_S
    return min(max(wanted_s * NS_PER_S, _BACKOFF_NS << min(attempts - 1, 10)), longest_ns)


class ServerWatch:
    """`gone`: why the server was given up on, None while it wasn't."""

    def __init__(self) -> None:
        self._unreachable_since_ns = 0
        self.gone: str | None = None

    def reached(self) -> None:
        """There is a connection, or a reply has come."""
        self._unreachable_since_ns = 0

    def unreachable(self, url: str, reason: str) -> bool:
        """No connection to this URL could be made; whether the server is given up on by that."""
        now = time.monotonic_ns()
        self._unreachable_since_ns = self._unreachable_since_ns or now
        if self.gone or now - self._unreachable_since_ns <= GONE_AFTER_NS:
            return False
        self.gone = (
            f"The server at {url} has gone: no connection for "
            f"{GONE_AFTER_NS / NS_PER_S:g} s ({reason})."
        )
        return True
