"""The reaction to a failure: sending a request again, and giving up on its server."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

from mls.config.sections.run import Run
from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.transport.exchange import Exchange

GONE_AFTER_NS = 5 * NS_PER_S
"""The time without a connection after which the server is given up on."""

_BUSY = (429, 503)
"""Statuses of a server that did not accept the request and may accept it later."""

_BACKOFF_NS = 100 * NS_PER_MS
_LONGEST_PAUSE_S = 60


class RetryPolicy:
    """The policy of `run.retries`. Only requests without any answer yet are sent again."""

    def __init__(self, run: Run) -> None:
        self._retries = run.retries

    def allows(self, exchange: Exchange) -> bool:
        """Whether another attempt may follow the failed one."""
        return exchange.attempts <= self._retries

    def after_reply(self, exchange: Exchange) -> bool:
        """Whether the complete reply asks for another attempt that is allowed."""
        return exchange.status in _BUSY and self.allows(exchange)


def pause_ns(attempts: int, retry_after: str | None = None) -> int:
    """The pause in ns after this many attempts: 0.1 s, then twice as long each time, up to 60 s.

    retry_after: the header, which may ask for a longer pause, see `seconds_of`.
    """
    header_s = min(seconds_of(retry_after), _LONGEST_PAUSE_S)
    longest_ns = _LONGEST_PAUSE_S * NS_PER_S
    return min(max(int(header_s * NS_PER_S), _BACKOFF_NS << min(attempts - 1, 10)), longest_ns)


def seconds_of(retry_after: str | None) -> float:
    """The seconds from now that `Retry-After` (RFC 9110, 10.2.3) asks for; 0 for no valid value.

    Valid are an HTTP date and a number of seconds, which some servers send with a fraction.
    """
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


class ServerWatch:
    """Watches whether the server is there. gone: the reason for giving up on it, else None."""

    def __init__(self) -> None:
        self._unreachable_since_ns = 0
        self.gone: str | None = None

    def reached(self) -> None:
        """Note that there is a connection or a reply."""
        self._unreachable_since_ns = 0

    def unreachable(self, url: str, reason: str) -> bool:
        """Note that there is no connection to this URL; whether the server is given up on now."""
        now = time.monotonic_ns()
        self._unreachable_since_ns = self._unreachable_since_ns or now
        if self.gone or now - self._unreachable_since_ns <= GONE_AFTER_NS:
            return False
        self.gone = (
            f"The server at {url} has gone: no connection for "
            f"{GONE_AFTER_NS / NS_PER_S:g} s ({reason})."
        )
        return True
