"""Results in which a reply to a canary differs under load, with the texts of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.unit.synthetic import load_of, rows, to_table

from mls.config.axes import Cell
from mls.config.config import Config

ALONE = "Alone it says <b>this</b> & goes on for a while."
UNDER_LOAD = "Alone it says <b>that</b> & goes on for a while."
OTHER: dict[str, Any] = {
    "canary_difference": "other",
    "canary_tokens": 6.0,
    "canary_character": ALONE.index("this") + 2,
}
"""Columns of a reply that parts from `ALONE` as `UNDER_LOAD` does."""


def records(sweep: Config, cell: Cell, repeat: int, **values: Any) -> pa.Table:
    """The records of a repeat whose first reply, which is to a canary, has these values."""
    first, *others = rows(load_of(sweep, cell, repeat))
    return to_table([first | values, *others])


def kept(folder: Path, text: str = ALONE) -> None:
    """Put the text into the references of a result, as `run.keep_output` does."""
    path = folder / "run.json"
    data = json.loads(path.read_text())
    for one in data["canaries"]["references"]:
        one["text"] = text
    path.write_text(json.dumps(data))
