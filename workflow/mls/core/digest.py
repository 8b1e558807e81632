"""SHA-256 of files, of data, and of the package's own sources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mls.core.files import read_json, write_json

PACKAGE = Path(__file__).resolve().parent.parent


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises `OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class KeptDigests:
    """SHA-256 of files, in a file of their own: one of the same size and time isn't read again."""

    def __init__(self, store: Path) -> None:
        self._store = store
        content = read_json(store)
        self._kept: dict[str, Any] = content if isinstance(content, dict) else {}

    def of(self, files: Iterable[Path]) -> list[str | None]:
        """The hex SHA-256 of each file; None for one that can't be read. Raises `UserError`."""
        before = dict(self._kept)
        digests = [self._sha256(file) for file in files]
        if self._kept != before:
            write_json(self._store, self._kept)
        return digests

    def _sha256(self, file: Path) -> str | None:
        try:
            state = file.stat()
            now = [state.st_size, state.st_mtime_ns]
            match self._kept.get(str(file)):
                case [size, time, str(sha256)] if [size, time] == now:
                    return sha256
            digest = file_sha256(file)
        except OSError:
            return None
        self._kept[str(file)] = [*now, digest]
        return digest


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
