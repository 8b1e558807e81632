"""The folder of a sweep's own page and tables, and their copies for the last sweep with results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mls.core.files import write
from mls.core.run_folder import RUN

PAGE, ANSWER = "report.html", "answer.txt"
"""The page; its answer and its checks as plain text."""


def sweep_folder(results: Path, name: str) -> Path:
    """The folder with page and tables of the sweep `name`, which no other sweep writes to."""
    return results / "sweeps" / name


def has_results(results: Path, name: str) -> bool:
    """Whether any repeat of the sweep `name` has a result."""
    return next(_runs(results, name).rglob(RUN), None) is not None


def has_runs(results: Path, name: str) -> bool:
    """Whether any repeat of the sweep `name` was begun."""
    return _runs(results, name).is_dir()


def publish(results: Path, name: str, files: Iterable[str]) -> None:
    """Copy files of the sweep `name` to the top of `results`, if the sweep has any result.

    What is there stays as it is if not. Raises `UserError` when a copy can't be written.
    """
    if has_results(results, name):
        for file in files:
            write(results / file, (sweep_folder(results, name) / file).read_bytes())


def _runs(results: Path, name: str) -> Path:
    return results / "runs" / f"name~{name}"
