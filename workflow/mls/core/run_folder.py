"""The folder of a run: the names of its files, and the failure of a run without a result.

Both `mls serve` and the ranks use it.
"""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mls.core.errors import UserError
from mls.core.files import read_json, unwritable, write
from mls.core.run_result import Failure

RUN, RECORDS, TELEMETRY = "run.json", "requests.parquet", "telemetry.parquet"
FAILURE = "failure.json"
ASIDE = "run.damaged.json"
PARTIAL = "requests.partial.parquet"
"""Records of a run that failed. The workflow's clean-up leaves a file of this name alone."""

KEPT = {RECORDS: "requests.kept.parquet", RUN: "run.kept.json"}
"""Second names of a result, by its own ones. The workflow's clean-up doesn't know them either."""

PARTS = ".parts"
"""Folder of the ranks' records until they are merged."""

_CUT_OFF = "The run was cut off: mls serve was killed, or the machine went down."


def make_parts(output: Path) -> Path:
    """A new folder for the parts of the run in `output`. Raises `UserError`."""
    discard_parts(output)
    folder = output / PARTS
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise unwritable(folder, error) from None
    return folder


def discard_parts(output: Path) -> None:
    """Remove the parts of the run in `output`, whether or not the run came to its end."""
    shutil.rmtree(output / PARTS, ignore_errors=True)


def begin(output: Path) -> None:
    """Remove an earlier attempt's files from a run's folder, and write a `failure.json` to it.

    This file is the message of a run that is killed, which can't write one itself. Raises
    `UserError` when the folder can't be written to: better now than after the load.
    """
    discard_parts(output)
    try:
        for path in (output / PARTIAL, output / ASIDE, *output.glob(".*.part")):
            path.unlink(missing_ok=True)
        discard_kept(output)
    except OSError as error:
        raise unwritable(output, error) from None
    write(output / FAILURE, _failure(output, _CUT_OFF))


def clear(output: Path) -> None:
    """Remove an earlier attempt's result and failure, so that none lies beside those of this one.

    Raises `UserError`.
    """
    try:
        for name in (RUN, RECORDS, TELEMETRY, FAILURE):
            (output / name).unlink(missing_ok=True)
        discard_kept(output)
    except OSError as error:
        raise unwritable(output, error) from None


def keep(output: Path) -> None:
    """Give the result of the run in `output` second names.

    A job that measures several runs fails as a whole, and the workflow then removes the results of
    all of them under their own names. Raises `UserError`.
    """
    discard_kept(output)
    for name, kept in KEPT.items():
        try:
            (output / kept).hardlink_to(output / name)
        except OSError:  # The file system has no such links
            write(output / kept, (output / name).read_bytes())


def discard_kept(output: Path) -> None:
    """Remove the second names of the result in `output`."""
    for kept in KEPT.values():
        (output / kept).unlink(missing_ok=True)


def restore_kept(output: Path) -> None:
    """Give a result that was kept its own names back, and take the second ones from it."""
    if not all((output / kept).exists() for kept in KEPT.values()):
        return
    for name, kept in KEPT.items():  # `run.json` last: it says that there is a result
        (output / kept).replace(output / name)


def end(output: Path, problem: str | None) -> None:
    """Record the end of the run that `begin` began. problem: why it failed; None: it did not.

    A failure that the run has recorded itself is kept, as it is more exact. The `run.json` of a
    failed run is no result: its server had died, or the run was ended. It is renamed to `ASIDE`.
    """
    if problem is None:
        (output / FAILURE).unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        (output / RUN).replace(output / ASIDE)
    if (failure := read_json(output / FAILURE)) is None or failure.get("message") == _CUT_OFF:
        write_failure(output, problem)


def write_failure(output: Path, message: str) -> None:
    """Leave `failure.json`, so that the tables can say why there is no result. Never raises."""
    discard_parts(output)
    with contextlib.suppress(UserError):  # the log has the message
        write(output / FAILURE, _failure(output, message))


def _failure(output: Path, message: str) -> str:
    cell, repeat = _from_path(output)
    now = datetime.now(UTC).isoformat()
    failure = Failure(cell=cell, repeat=repeat, message=message, at_utc=now)
    return failure.model_dump_json(indent=1) + "\n"


def _from_path(output: Path) -> tuple[dict[str, Any], int]:
    """Cell and repeat by the folder's path (see `cells.run_path`)."""
    pairs = dict(part.split("~", 1) for part in output.parts if "~" in part)
    pairs.pop("name", None)
    return pairs, int(pairs.pop("repeat", "1"))
