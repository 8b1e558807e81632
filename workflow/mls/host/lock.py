"""One at a time in a folder: a lock that the kernel takes back when its holder ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path

from mls.model.errors import UserError
from mls.model.files import unwritable

_held: list[int] = []


def only_one(path: Path) -> None:
    """Lock a file for as long as this process lives; what it starts doesn't hold the lock.

    Raises `UserError` when another process holds it, or when the file can't be written. On a file
    system without locks it says so on stderr and goes on.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode(errors="replace").strip()
        os.close(handle)
        raise UserError(
            f"Another `make report` or snakemake (process {holder or 'unknown'}) is at work in "
            f"{Path.cwd()}: wait until it is done, or stop it with Ctrl-C where it runs."
        ) from None
    except OSError as error:
        os.close(handle)
        print(
            f"{path} can't be locked ({error.strerror}): take care that nothing else measures here.",
            file=sys.stderr,
        )
        return
    _held.append(handle)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        if error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
        ):  # the id is for the other's message only
            raise
