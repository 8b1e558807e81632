"""The archive: everything behind a report of one sweep, in one zip."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mls.analysis.repeats import Repeat
from mls.analysis.study import Study, read_study
from mls.analysis.tables import tables
from mls.config.axes import cell_key
from mls.config.config import Config
from mls.core.digest import PACKAGE, data_sha256
from mls.core.errors import UserError
from mls.core.files import write
from mls.core.run_folder import RUN
from mls.core.sweep_folder import PAGE, sweep_folder
from mls.report.archive import crate
from mls.report.archive import manifest as manifests
from mls.report.archive.coherence import coherence
from mls.report.archive.manifest import Manifest, Partial
from mls.report.pages.inputs import CONFIG, config_data, digests, embedded, input_files
from mls.report.pages.page import page

_EPOCH = (1980, 1, 1, 0, 0, 0)  # The earliest time that a zip can hold
_MEASURE = "`make report CONFIG=FILE` with this config measures just these"


def archive(
    config: Config,
    results: Path,
    locks: Path = PACKAGE.parent.parent / "requirements",
    *,
    partial: bool = False,
) -> Path:
    """Write `<results>/archive/<name>-<digest>.zip` and return its path.

    It holds RO-Crate metadata, page, tables, run.json and raw records of each planned repeat,
    environment, probes, descriptions of the models (not their weights), the config with its
    defaults, decisions on what to measure, and the lock files in `locks`. The tables are made from
    the records; so is the page, unless there is one that was made from just these. Nothing is
    compressed and all times are fixed, so the same inputs give the same bytes on any machine.

    partial: where planned repeats have no result, pack what there is (and failure.json of those
    that failed) as `<name>-partial-<digest>.zip`. Raises `UserError` when a result is missing
    without `partial`, when records, config and environment don't belong together, when a file can't
    be read, and when the archive can't be written.
    """
    study = read_study(config, results)
    extent = _extent(study, results, partial)
    _check_coherence(study, results)
    files = {name: _bytes(path) for name, path in _members(study, results, locks)}
    files |= tables(study)
    data = config_data(config)
    files[CONFIG] = (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()
    files[PAGE] = _page(study, results, digests(data, _sums(files)))
    files[crate.NAME] = _crate(config, files, extent)
    manifest = Manifest(
        manifest_version=manifests.VERSION,
        name=config.name,
        definitions=manifests.definitions(),
        partial=extent,
        files=_sums(files),
    )
    files[manifests.NAME] = (manifest.model_dump_json(indent=1) + "\n").encode()
    path = results / "archive" / manifest.file_name
    write(path, _zip(files))
    return path


def _extent(study: Study, results: Path, partial: bool) -> Partial | None:
    """The extent of a partial archive; None for a whole one. Raises `UserError`, see `archive`."""
    for repeat in (repeat for cell in study.cells for repeat in cell.repeats):
        if repeat.result is None and (repeat.folder / RUN).is_file():
            raise UserError(f"{repeat.folder}: {repeat.message} Then archive it.")
    if study.complete:
        return None
    name, missing = study.config.name, study.planned_repeats - study.measured_repeats
    if partial and study.measured_repeats:
        undecided = len(study.undecided)
        return Partial(
            measured=study.measured_repeats, planned=study.planned_repeats, undecided=undecided
        )
    why = f"{missing} of the {study.planned_repeats} planned repeats have no result in {results}"
    if first := next((r for c in study.cells for r in c.repeats if r.result is None), None):
        why += f" (first {cell_key(first.cell)}/repeat~{first.number}: {first.message.rstrip('.')})"
    else:
        why = f"the results have yet to decide whether more is measured of {study.undecided[0]}"
    instead = "; --partial archives what is there" if study.measured_repeats else ""
    raise UserError(f"Sweep {name} is not complete, as {why}: {_MEASURE}{instead}.")


def _check_coherence(study: Study, results: Path) -> None:
    runs = [(cell.cell, [repeat.number for repeat in cell.repeats]) for cell in study.cells]
    for sentence in coherence(study.config, results, runs).contradictions:
        raise UserError(f"{results}: {sentence} Call `make report CONFIG=FILE` with this config.")


def _page(study: Study, results: Path, made_from: dict[str, str]) -> bytes:
    """The sweep's own page, or the one in `results`, if it has these digests; else a new one."""
    for path in (sweep_folder(results, study.config.name) / PAGE, results / PAGE):
        if path.is_file():
            content = _bytes(path)
            if embedded(content.decode(errors="replace")) == made_from:
                return content
    return page(study, results).encode()


def _zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as bundle:
        for name, data in sorted(files.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = 3  # Unix, on any machine
            member.external_attr = 0o644 << 16
            bundle.writestr(member, data)
    return out.getvalue()


def _sums(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


def _crate(config: Config, files: dict[str, bytes], partial: Partial | None) -> bytes:
    sums = _sums(files)
    runs = [name for name in files if PurePosixPath(name).name == RUN]
    starts = sorted(str(json.loads(files[name])["clock"].get("started_utc") or "") for name in runs)
    title = config.title or f"Benchmark of {', '.join(config.models)}"
    if partial:
        title += f" (partial: {partial})"
    digest = data_sha256(sorted(sums[name] for name in runs))
    return crate.metadata(title, "".join(starts[:1]), digest, files, sums).encode()


def _members(study: Study, results: Path, locks: Path) -> Iterator[tuple[str, Path]]:
    """(name in the archive, path) of each file that is packed unchanged."""
    paths = input_files(study, results)
    paths += [path for cell in study.cells for repeat in cell.ok for path in _records(repeat)]
    for path in paths:
        yield path.relative_to(results).as_posix(), path
    for path in sorted(locks.glob("*.txt")):
        yield f"requirements/{path.name}", path


def _records(repeat: Repeat) -> list[Path]:
    return [repeat.folder / name for name in sorted(repeat.result.files if repeat.result else ())]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}): check its permissions."
        ) from None
