"""The last message of a process whose end makes its launcher end."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import stat
import sys
import termios
import time

_LOOK_EVERY_S = 0.005
_WITHIN_S = 1


def tell(text: str) -> None:
    """Write text to stderr in one piece, and wait a second at most until it has been read.

    A launcher that aborts loses the text that is unread in its pipes: MPICH's hydra cuts a
    traceback short. Text in one piece is read in one piece. There is no wait when stderr is not a
    pipe, and no error when nobody reads it. See FIONREAD in pipe(7).
    """
    with contextlib.suppress(OSError):
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()
        until = time.monotonic() + _WITHIN_S
        while _backlog_bytes(sys.stderr.fileno()) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)


def _backlog_bytes(fd: int) -> int:
    """Bytes in a pipe that are not read yet; 0 for anything but a pipe."""
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return 0
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]
