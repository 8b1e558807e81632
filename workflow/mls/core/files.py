"""Files that are whole or absent: each is written beside its place, then renamed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from mls.core.errors import UserError

_ADVICE = {
    errno.ENOSPC: "free some space and run it again",
    errno.EDQUOT: "free some of your quota and run it again",
    errno.EACCES: "allow writing there, or set `results` to another folder",
    errno.EPERM: "allow writing there, or set `results` to another folder",
    errno.EROFS: "allow writing there, or set `results` to another folder",
}


def write(path: Path, data: bytes | str) -> None:
    """Write a file and its missing folders. A reader sees the old file or the new, never a part.

    Raises `UserError` when the disk is full or writing isn't permitted.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None


def check_writable(folder: Path) -> None:
    """Make the folder if it is missing, and write a trial file to it. Raises `UserError`."""
    trial = folder / ".writable"
    write(trial, "yes")
    trial.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> UserError:
    """The error for a user when writing to `path` has failed with `error`."""
    advice = _ADVICE.get(error.errno or 0, "check the folder and run it again")
    return UserError(f"{path} can't be written ({error.strerror}): {advice}.")


def write_json(path: Path, data: object) -> None:
    """Write data as indented JSON, like `write`."""
    write(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any | None:
    """The content of a JSON file; None when it is absent, unreadable or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
