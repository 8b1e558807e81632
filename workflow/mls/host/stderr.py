"""Last words, of a process that is about to take its launcher down with it."""

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

    A launcher that is told to abort ends without what lies unread in its pipes (MPICH's hydra cut
    a traceback short), and what is written line by line is read in pieces. Anything but a pipe is
    not waited for, and nobody there to read is no error. See FIONREAD in pipe(7).
    """
    with contextlib.suppress(OSError):
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()
        until = time.monotonic() + _WITHIN_S
        while _unread(sys.stderr.fileno()) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)


def _unread(fd: int) -> int:
    """Bytes of a pipe that its reader hasn't taken; 0 for anything else."""
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return 0
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]
