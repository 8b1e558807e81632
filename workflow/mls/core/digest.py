"""SHA-256 of files, of data, and of the package's own sources."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises `OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def state_sha256(path: Path) -> str:
    """`file_sha256`, computed once in this process for each size and time of the file."""
    state = path.stat()
    return _state_sha256(path, state.st_size, state.st_mtime_ns)


@cache
def _state_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    return file_sha256(path)


def data_sha256(data: Any) -> str:
    """Hex SHA-256 of data's canonical JSON (sorted keys)."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def sources_sha256(*layers: str) -> str:
    """Hex SHA-256 over the names and bytes of the package's Python sources and templates.

    layers: folders, such as "load", and files, such as "commands/run.py". Without any, the digest
    is of the whole package. Raises `FileNotFoundError` when one of them does not exist.
    """
    roots = [PACKAGE / layer for layer in layers] if layers else [PACKAGE]
    for root in roots:
        if not root.exists():
            raise FileNotFoundError(root)
    files = sorted(
        path
        for root in roots
        for path in (root.rglob("*") if root.is_dir() else [root])
        if path.is_file() and "__pycache__" not in path.parts
    )
    listing = [(str(path.relative_to(PACKAGE)), file_sha256(path)) for path in files]
    return data_sha256(listing)
