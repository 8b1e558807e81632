"""Locks of a folder. The kernel releases a lock when its holder ends, however the holder ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from mls.core.errors import UserError
from mls.core.files import unwritable

_handles: list[int] = []


def only_one(path: Path, what: str = "`make report` or snakemake") -> None:
    """Lock a file for as long as this process lives. Its children don't hold the lock.

    what: this process, and another one that may hold the lock, in words.

    Raises `UserError` when another process holds the lock, or when the file can't be written. On a
    file system without locks the function warns on stderr and returns.
    """
    handle = _open(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode(errors="replace").strip()
        os.close(handle)
        raise UserError(
            f"Another {what} (process {holder or 'unknown'}) is at work in "
            f"{Path.cwd()}: wait until it is done, or stop it with Ctrl-C where it runs."
        ) from None
    except OSError as error:
        os.close(handle)
        _say_unlocked(path, error)
        return
    _handles.append(handle)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        if error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
        ):  # the id is for the other's message only
            raise


@contextlib.contextmanager
def shared(path: Path) -> Iterator[bool]:
    """Lock a file for as long as this process lives; other processes may share the lock.

    The context's value is whether this process is the only holder. If it is, others wait until the
    context ends. Children of this process don't hold the lock. Raises `UserError` when the file
    can't be written. On a file system without locks the function warns on stderr, and the value is
    True.
    """
    handle = _open(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            fcntl.flock(handle, fcntl.LOCK_SH)
            alone = False
        except OSError as error:
            _say_unlocked(path, error)
            yield True
            os.close(handle)
            return
        yield alone
        fcntl.flock(handle, fcntl.LOCK_SH)
    except BaseException:
        os.close(handle)
        raise
    _handles.append(handle)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise unwritable(path, error) from None


def _say_unlocked(path: Path, error: OSError) -> None:
    print(
        f"{path} can't be locked ({error.strerror}): take care that nothing else measures here.",
        file=sys.stderr,
    )
