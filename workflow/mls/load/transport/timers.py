"""An alarm clock for an epoll loop, to the nanosecond: timerfd_create(2).

`epoll.poll` rounds its timeout up to whole milliseconds, and a sleeping thread's other timers have
a slack of 50 µs and more; an open loop's arrivals would all be late by that.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import os
import time
from collections.abc import Callable

from mls.core.units import NS_PER_S

_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # the values of TFD_NONBLOCK and TFD_CLOEXEC
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """A file descriptor that is readable from a moment of `CLOCK_MONOTONIC` on. Linux only."""

    def __init__(self) -> None:
        """Raises `OSError` when there are no file descriptors left."""
        self._fd: int = _LIBC.timerfd_create(time.CLOCK_MONOTONIC, _FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._setting = _Setting()

    def fileno(self) -> int:
        return self._fd

    def set(self, at_ns: int) -> None:
        """Go off at this moment: at once when it has passed, never for 0. Replaces the last one."""
        value = self._setting.value
        value.seconds, value.nanoseconds = divmod(at_ns, NS_PER_S)
        _LIBC.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(self._setting), None)

    def close(self) -> None:
        os.close(self._fd)


class Timers:
    """The timed actions of an event loop. True while there are any but optional ones."""

    def __init__(self) -> None:
        """Raises `OSError` when there are no file descriptors left."""
        self._alarm = Alarm()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._optional = 0  # of the heap
        self._order = itertools.count()
        self.next_ns: int | None = None
        """The time of the next action; None without any."""
        self.armed_ns: int | None = None
        """The time to which the alarm is set."""

    def __bool__(self) -> bool:
        return len(self._heap) > self._optional

    def fileno(self) -> int:
        """A file descriptor that is readable when an action is due, after `arm`."""
        return self._alarm.fileno()

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        """Schedule `action` for a moment of `CLOCK_MONOTONIC`."""
        heapq.heappush(self._heap, (when_ns, next(self._order), action))
        self.next_ns = self._heap[0][0]

    def optional_at(self, when_ns: int, action: Callable[[], None]) -> None:
        """Schedule an action that no loop has to wait for."""

        def counted() -> None:
            self._optional -= 1
            action()

        self._optional += 1
        self.at(when_ns, counted)

    def arm(self) -> None:
        """Set the alarm to the next action. Called before the loop sleeps, if `next_ns` changed."""
        self._alarm.set(self.next_ns or 0)
        self.armed_ns = self.next_ns

    def run(self, now_ns: int) -> None:
        """Run all actions that are due, in the order of their times."""
        while self._heap and self._heap[0][0] <= now_ns:
            heapq.heappop(self._heap)[2]()
        self.next_ns = self._heap[0][0] if self._heap else None

    def close(self) -> None:
        self._alarm.close()
