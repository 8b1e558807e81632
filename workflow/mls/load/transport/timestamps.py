"""Arrival times of bytes at the host: kernel receive timestamps, converted to `CLOCK_MONOTONIC`.

With `SO_TIMESTAMPNS`, `recvmsg` on a Linux TCP socket gives the `CLOCK_REALTIME` at which the
newest of the returned bytes reached the host, however late the reader is. See socket(7) and
Documentation/networking/timestamping.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time

from mls.core.units import NS_PER_MS, NS_PER_S

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; not in Python's socket module
ANCILLARY_BYTES = socket.CMSG_SPACE(16)
_TIMESPEC = struct.Struct("@qq")
_REFRESH_NS = 50 * NS_PER_MS
_STEP_NS = NS_PER_MS
_TRIES = 20
_TRY_S = 0.005


def supported() -> bool:
    """Whether this host gives kernel receive timestamps on TCP sockets, by a trial on loopback.

    Some sandboxes accept the socket option and give no timestamps.
    """
    if not sys.platform.startswith("linux"):
        return False  # there the number may name another option
    with contextlib.suppress(OSError), socket.socket() as listener, socket.socket() as near:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        with far:
            return enable(near) and any(_has_timestamp(far, near) for _ in range(_TRIES))
    return False


def hold() -> socket.socket | None:
    """A socket that keeps the host's timestamps switched on while it is open.

    The kernel switches timestamps off when no open socket asks for them, and takes a moment to
    switch them on again. Without this socket, that would happen between requests on different
    connections.
    """
    if not sys.platform.startswith("linux"):
        return None
    sock = socket.socket()
    if enable(sock):
        return sock
    sock.close()
    return None


def _has_timestamp(far: socket.socket, near: socket.socket) -> bool:
    far.send(b".")
    _, ancillary, _, _ = near.recvmsg(1, ANCILLARY_BYTES)
    if any(kind == SO_TIMESTAMPNS for _, kind, _ in ancillary):
        return True
    time.sleep(_TRY_S)  # the host's first such socket switches the timestamps on, soon
    return False


def enable(sock: socket.socket) -> bool:
    """Ask for receive timestamps on a socket; False where the platform has none."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


class WallClock:
    """The offset of `CLOCK_REALTIME` to `CLOCK_MONOTONIC`, refreshed while load is running.

    NTP slews the wall clock by at most 500 ppm, which is 25 µs between two refreshes. The clock may
    also be set by hand: `steps` counts jumps of more than a millisecond.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.stale_ns = 0
        """The time until which `refresh` does nothing."""
        self.offset_ns = _offset_ns()

    def refresh(self, now_ns: int) -> None:
        """Measure the offset again if the last measurement is older than 50 ms."""
        if now_ns < self.stale_ns:
            return
        self.stale_ns = now_ns + _REFRESH_NS
        offset = _offset_ns()
        if abs(offset - self.offset_ns) > _STEP_NS:
            self.steps += 1
        self.offset_ns = offset


def arrival_ns(stamp: bytes, offset_ns: int) -> int:
    """Monotonic arrival time: the kernel's timestamp less the wall clock's offset."""
    seconds, nanoseconds = _TIMESPEC.unpack_from(stamp)
    return int(seconds * NS_PER_S + nanoseconds - offset_ns)


def _offset_ns() -> int:
    """The offset by the tightest of five bracketed readings, to a fraction of a microsecond."""
    best_width, best = None, 0
    for _ in range(5):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if best_width is None or after - before < best_width:
            best_width, best = after - before, wall - (before + after) // 2
    return best
