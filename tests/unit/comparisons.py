"""Result folders to compare: the same sweep on servers that are faster or slower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.unit.synthetic import load_of, table, write_repeat, write_results

from mls.config.cells import cells
from mls.config.config import Config


def folder_of(sweep: Config, folder: Path, slower: float = 1.0) -> Path:
    """Write all repeats of a sweep, each time of the server longer by a factor."""
    write_results(sweep, folder)
    for cell in cells(sweep):
        for repeat in range(1, sweep.repeats + 1):
            load = load_of(sweep, cell, repeat)
            slow = replace(load, itl_ms=load.itl_ms * slower, ttft_ms=load.ttft_ms * slower)
            write_repeat(sweep, folder, cell, repeat, table(slow))
    return folder
