"""The archive: everything that stands behind a report in one zip, and the check of such a zip."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mls.analysis.repeats import Repeat, read_cell
from mls.config.config import Config
from mls.config.decisions import decision_files, planned
from mls.core.digest import PACKAGE, data_sha256
from mls.core.errors import UserError
from mls.core.files import write
from mls.core.run_folder import FAILURE, RUN
from mls.report.archive import crate

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
DIGEST_LENGTH = 12
_MADE = ("report.html", "summary.csv", "summary.parquet", "cells.csv", "cells.parquet")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


def archive(
    config: Config, results: Path, locks: Path = PACKAGE.parent.parent / "requirements"
) -> Path:
    """Write `<results>/archive/<name>-<digest>.zip` and return its path.

    It holds RO-Crate metadata, page, tables, run.json and raw records of each repeat (failure.json of a failed one),
    environment, probes, descriptions of the models (not their weights), the config with its
    defaults, and the lock files in `locks`. Nothing is compressed and all times are fixed, so the
    same inputs give the same bytes on any machine. Raises `UserError` when there is no page or no
    tables yet, a file can't be read, or the archive can't be written.
    """
    for name in _MADE:
        if not (results / name).is_file():
            raise UserError(
                f"{results / name} isn't there: run `mls aggregate` and `mls report` first."
            )
    files = {name: _bytes(path) for name, path in _members(config, results, locks)}
    files["config.json"] = (config.model_dump_json(indent=1) + "\n").encode()
    files[crate.NAME] = _crate(config, files)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    manifest = {"manifest_version": MANIFEST_VERSION, "name": config.name, "files": sums}
    files[MANIFEST] = (json.dumps(manifest, indent=1) + "\n").encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
        for name, data in sorted(files.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = 3  # Unix, wherever it is made
            member.external_attr = 0o644 << 16
            packed.writestr(member, data)
    path = results / "archive" / f"{config.name}-{_digest(sums)}.zip"
    write(path, out.getvalue())
    return path


def _crate(config: Config, files: dict[str, bytes]) -> bytes:
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    runs = [name for name in files if PurePosixPath(name).name == RUN]
    started = sorted(
        str(json.loads(files[name])["clock"].get("started_utc") or "") for name in runs
    )
    title = config.title or f"Benchmark of {', '.join(config.models)}"
    digest = data_sha256(sorted(sums[name] for name in runs))
    return crate.metadata(title, "".join(started[:1]), digest, files, sums).encode()


def verify(path: Path) -> int:
    """Check every file of an archive against its manifest; returns their number.

    Raises `UserError` naming the first file (by name) that is wrong, missing or not in the
    manifest, and when the archive's own name doesn't fit its content.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            return _verified(packed, path)
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error}).") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is damaged or not a zip archive ({error}).") from None


def _verified(packed: zipfile.ZipFile, path: Path) -> int:
    names = packed.namelist()
    sums = _manifest(packed, path)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: {twice[0]} is in the archive more than once.")
    for name in sorted({*names, *sums} - {MANIFEST}):
        if name not in sums:
            raise UserError(f"{path}: {name} is in the archive but not in its manifest.")
        if name not in names:
            raise UserError(f"{path}: {name} is in the manifest but missing from the archive.")
        try:
            data = packed.read(name)
        except zipfile.BadZipFile:
            data = b""
        if hashlib.sha256(data).hexdigest() != sums[name]:
            raise UserError(f"{path}: {name} is not as it was archived (its SHA-256 differs).")
    named = re.search(rf"-([0-9a-f]{{{DIGEST_LENGTH}}})\.zip$", path.name)
    if named and named[1] != _digest(sums):
        raise UserError(f"{path}: the digest in its name doesn't fit its manifest.")
    return len(sums)


def _manifest(packed: zipfile.ZipFile, path: Path) -> dict[str, str]:
    try:
        files = json.loads(packed.read(MANIFEST))["files"]
    except KeyError:
        raise UserError(f"{path} has no {MANIFEST}: it wasn't made by `mls archive`.") from None
    except (ValueError, TypeError, zipfile.BadZipFile):
        raise UserError(f"{path}: {MANIFEST} is damaged.") from None
    if not isinstance(files, dict):
        raise UserError(f"{path}: {MANIFEST} is damaged.")
    return {str(name): str(digest) for name, digest in files.items()}


def _digest(sums: dict[str, str]) -> str:
    return data_sha256(sums)[:DIGEST_LENGTH]


def _members(config: Config, results: Path, locks: Path) -> Iterator[tuple[str, Path]]:
    """Name in the archive and path of each file that is there."""
    paths = [results / name for name in _MADE]
    paths.append(results / "environment" / "environment.json")
    for model in config.models:
        paths += [results / "probe" / f"{model}.json", results / "models" / f"{model}.json"]
    paths += decision_files(config, results)
    for cell, numbers in planned(config, results):
        for repeat in read_cell(config, results, cell, numbers):
            paths += _of_repeat(repeat)
    for path in paths:
        if path.is_file():
            yield path.relative_to(results).as_posix(), path
    for path in sorted(locks.glob("*.txt")):
        yield f"requirements/{path.name}", path


def _of_repeat(repeat: Repeat) -> list[Path]:
    if repeat.result is None:
        return [repeat.folder / name for name in (RUN, FAILURE)]
    return [repeat.folder / name for name in (RUN, *sorted(repeat.result.files))]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}): check its permissions."
        ) from None
