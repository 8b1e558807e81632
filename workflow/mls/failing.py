"""What a run without a result leaves behind: `failure.json`, and no result that is none.

Without MPI: `mls serve` uses it, which is no rank.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mls.load.parts import discard
from mls.model.errors import UserError
from mls.model.files import read_json, unwritable, write
from mls.model.intact import ASIDE, FAILURE, RUN
from mls.model.result import Failure

PARTIAL = "requests.partial.parquet"
"""Records of a run that failed: under a name of their own they outlive the workflow's clean-up."""

_CUT_OFF = "The run was cut off: mls serve was killed, or the machine went down."


def begin(output: Path) -> None:
    """Clear away what an earlier try left in a run's folder.

    A `failure.json` stands there from now on, for a run that can't leave one itself: it was killed.
    Raises `UserError` when the folder can't be written to: better now than after the load.
    """
    discard(output)
    try:
        for path in (output / PARTIAL, output / ASIDE, *output.glob(".*.part")):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(output, error) from None
    write(output / FAILURE, _failure(output, _CUT_OFF))


def end(output: Path, problem: str | None) -> None:
    """After `begin`: the run has ended, with this problem unless it has told a better one itself.

    What it took for a result when its server had died, or before it was ended, is none: it is
    set aside.
    """
    if problem is None:
        (output / FAILURE).unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        (output / RUN).replace(output / ASIDE)
    if (told := read_json(output / FAILURE)) is None or told.get("message") == _CUT_OFF:
        write_failure(output, problem)


def write_failure(output: Path, message: str) -> None:
    """Leave `failure.json`, so that the tables can say why there is no result. Never raises."""
    discard(output)
    with contextlib.suppress(UserError):  # the log has the message
        write(output / FAILURE, _failure(output, message))


def _failure(output: Path, message: str) -> str:
    cell, repeat = _from_path(output)
    now = datetime.now(UTC).isoformat()
    failure = Failure(cell=cell, repeat=repeat, message=message, at_utc=now)
    return failure.model_dump_json(indent=1) + "\n"


def _from_path(output: Path) -> tuple[dict[str, Any], int]:
    """Cell and repeat as the folder's own name tells them (see `sweep.run_path`)."""
    pairs = dict(part.split("~", 1) for part in output.parts if "~" in part)
    pairs.pop("name", None)
    return pairs, int(pairs.pop("repeat", "1"))
