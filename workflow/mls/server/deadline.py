"""A limit on a whole answer: `requests` has limits on single waits only, and a server may drip."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

import requests


class _LateError(Exception):
    """Not an `OSError`: urllib3 takes those for a connection that broke."""


@contextlib.contextmanager
def within(limit_s: float) -> Iterator[None]:
    """What runs within is broken off when so long has passed, and `requests.Timeout` raised.

    By SIGALRM, which Python gives to its main thread alone: in another one there is no limit. What
    runs within has to be of the kind that only waits and reads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise _LateError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    except _LateError:
        raise requests.Timeout from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
