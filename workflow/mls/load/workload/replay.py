"""The prompts of an earlier run, made again from its config and checked against its hashes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.arrow import read_parquet
from mls.core.errors import UserError

_RUN, _RECORDS = "run.json", "requests.parquet"


@dataclass(frozen=True)
class Earlier:
    """The prompts of an earlier repeat. sha256: job → hash of its prompt."""

    seed: int
    run: Run
    workload: Workload
    sha256: dict[int, str]


def read_earlier(workload: Workload) -> Earlier:
    """Read `workload.file`: a repeat's folder, or an archive that holds one. Raises `UserError`."""
    path = Path(workload.file or "").expanduser()
    try:
        data, records = _files(path)
        config = json.loads(data)["config"]
        table = read_parquet(records, ["job", "prompt_sha256"])
        earlier = Earlier(
            config["seed"],
            Run.model_validate(config["run"]),
            Workload.model_validate(config.get("workload", {})),
            dict(zip(*(table[name].to_pylist() for name in ("job", "prompt_sha256")), strict=True)),
        )
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"workload.file: {path} can't be read ({why}).") from None
    except (ValueError, KeyError, TypeError, ValidationError, pa.ArrowInvalid, zipfile.BadZipFile):
        raise UserError(
            f"workload.file: {path} is not a repeat of this version of mls; expected a folder with "
            f"{_RUN} and {_RECORDS}, or an archive of one repeat."
        ) from None
    if earlier.workload.converses or earlier.workload.kind in ("replay", "blocks"):
        raise UserError(
            f"workload.file: {path} is a repeat of workload.kind {earlier.workload.kind}, whose prompts "
            "are not its own; replay one of another kind."
        )
    return earlier


def check_same(earlier: Earlier, sha256: Callable[[int], str], requests: int | None) -> None:
    """Raise `UserError` unless each job of the run has the prompt of the earlier one.

    sha256: job → hash of the prompt now.
    """
    if requests is None or requests > len(earlier.sha256):
        raise UserError(
            f"workload.file: the earlier run had {len(earlier.sha256)} requests; "
            f"set run.iters to at most that, and leave run.rounds and run.duration_s out."
        )
    for job in range(requests):
        if sha256(job) != earlier.sha256.get(job):
            raise UserError(
                f"workload.file: prompt {job} of the earlier run can't be made again: the model, its "
                "tokenizer, the dataset or a file that it names, the version of Python (kind text) or that of mls is another."
            )


def _files(path: Path) -> tuple[bytes, bytes]:
    if path.is_dir():
        return (path / _RUN).read_bytes(), (path / _RECORDS).read_bytes()
    with zipfile.ZipFile(path) as archive:
        runs = [name for name in archive.namelist() if name.endswith(f"/{_RUN}") or name == _RUN]
        if len(runs) != 1:
            raise UserError(
                f"workload.file: {path} holds {len(runs)} repeats; unpack it and name the folder "
                f"of one, such as {runs[0].removesuffix(_RUN) if runs else 'runs/…/repeat~1'}."
            )
        return archive.read(runs[0]), archive.read(runs[0].removesuffix(_RUN) + _RECORDS)
