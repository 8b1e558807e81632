"""Damage to a repeat's folder; each function strikes one file of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def truncate(folder: Path) -> None:
    """Cut off half of the records."""
    path = folder / "requests.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def corrupt(folder: Path) -> None:
    """Cut off the result in the middle of its JSON."""
    path = folder / "run.json"
    path.write_text(path.read_text()[:200])


def change(key: str, value: Any) -> Callable[[Path], None]:
    """A function that sets one key of the result."""

    def apply(folder: Path) -> None:
        path = folder / "run.json"
        data = json.loads(path.read_text())
        data[key] = value
        path.write_text(json.dumps(data))

    return apply
