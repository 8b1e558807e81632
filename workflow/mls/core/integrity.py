"""Whether a finished repeat is unchanged, by the SHA-256 of its files. Records are not parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from mls.core.digest import file_sha256
from mls.core.errors import UserError
from mls.core.files import unwritable
from mls.core.run_folder import ASIDE, RECORDS, RUN
from mls.core.run_result import SCHEMA_VERSION, RunResult

AGAIN = "the next `make report` measures it again"


class DamagedError(Exception):
    """Why the files of a repeat can't be used, as a sentence."""


def intact_result(folder: Path) -> RunResult:
    """The result in a repeat's `run.json`, once every file that it lists has the listed SHA-256.

    Raises `DamagedError` when a file is missing, corrupt or changed, and `OSError` when a file
    can't be read.
    """
    result = _valid(folder / RUN)
    if RECORDS not in result.files:
        raise DamagedError(f"{RUN} doesn't list {RECORDS}, so it can't be trusted: {AGAIN}.")
    for name, digest in sorted(result.files.items()):
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise DamagedError(f"{name} is missing beside {RUN}: {AGAIN}.")
        if file_sha256(path) != digest:
            raise DamagedError(
                f"{name} is not what {RUN} was made from (cut off or changed): {AGAIN}."
            )
    return result


def set_aside_damaged(folders: Iterable[Path]) -> list[str]:
    """Rename the `run.json` of each damaged repeat, so that the repeat counts as not measured.

    A folder without a `run.json` is skipped. Returns a sentence for each damaged repeat. Raises
    `UserError` when a file can't be read or renamed.
    """
    sentences = []
    for folder in folders:
        if not (folder / RUN).is_file():
            continue
        try:
            intact_result(folder)
        except DamagedError as damage:
            try:
                (folder / RUN).replace(folder / ASIDE)
            except OSError as error:
                raise unwritable(folder / ASIDE, error) from None
            sentences.append(f"{folder}: {damage} (Until then its {RUN} is kept as {ASIDE}.)")
        except OSError as error:
            raise UserError(
                f"{error.filename} can't be read ({error.strerror}): allow reading it."
            ) from None
    return sentences


def _valid(path: Path) -> RunResult:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise DamagedError(f"{RUN} is corrupt (not JSON): {AGAIN}.") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise DamagedError(
            f"{RUN} has schema version {version}, this version of mls reads {SCHEMA_VERSION}: "
            f"{AGAIN}, or read it with the version that wrote it."
        )
    try:
        return RunResult.model_validate(data)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DamagedError(f"{RUN} is corrupt (at `{key}`): {AGAIN}.") from None
