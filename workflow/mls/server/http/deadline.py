"""A time limit for a whole answer. `requests` limits single waits only, and a server may drip."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

import requests


class _LateError(Exception):
    """The limit has passed. Not an `OSError`, which urllib3 takes for a broken connection."""


@contextlib.contextmanager
def within(limit_s: float) -> Iterator[None]:
    """Break off the block after `limit_s` seconds and raise `requests.Timeout`.

    The limit is SIGALRM's, which Python delivers to its main thread only: in other threads there is
    no limit. The block must only wait and read, as it may end at any statement.
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
