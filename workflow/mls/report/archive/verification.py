"""The check that an archive is whole and that its parts belong together."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from mls.analysis.study import Study, read_study
from mls.analysis.tables import TABLES
from mls.config.cells import run_path
from mls.config.decisions import PLAN, adaptive
from mls.config.parse import parse_config
from mls.core.errors import UserError
from mls.core.run_folder import RUN
from mls.core.sweep_folder import PAGE
from mls.report.archive import manifest as manifests
from mls.report.archive.coherence import Coherence, apart, coherence
from mls.report.archive.manifest import Manifest, Partial, read_manifest
from mls.report.archive.packed_tables import mismatches
from mls.report.pages.inputs import CONFIG, digests, embedded

_RECORDS = "the packed records"
_SAYS_PARTIAL = 2
"""The manifest version since which the manifest has `partial`, and the page its inputs' digests."""

_REQUIRED_FILES = (CONFIG, PAGE, *TABLES)


@dataclass(frozen=True)
class Verification:
    """The result of a check that found no fault."""

    files: int
    """Number of files in the manifest."""
    partial: Partial | None
    """None when every planned repeat is in the archive."""
    unchecked: tuple[str, ...]
    """Sentences on what could not be checked, and why."""

    def sentences(self) -> Iterator[str]:
        """The result for the user, one sentence a line."""
        yield f"{self.files} files, all as in the manifest"
        if self.partial:
            yield f"partial: {self.partial}"
        if not self.unchecked:
            yield "config, page, tables, records and environment belong together"
        for sentence in self.unchecked:
            yield f"not checked: {sentence}"


def verify(path: Path) -> Verification:
    """Check an archive's files against its manifest, and its parts against each other.

    The tables are computed anew from the packed records by the packed config. Raises `UserError`
    naming the first file (by name) that is wrong, missing or not in the manifest, or the first two
    parts that don't belong together.
    """
    try:
        with zipfile.ZipFile(path) as archive, TemporaryDirectory(prefix="mls-") as folder:
            manifest = read_manifest(archive, path)
            _check_files(archive, manifest, path)
            archive.extractall(folder)
            return _verification(Path(folder), manifest, path)
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error}).") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is damaged or not a zip archive ({error}).") from None


def _check_files(archive: zipfile.ZipFile, manifest: Manifest, path: Path) -> None:
    names, sums = archive.namelist(), manifest.files
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: {twice[0]} is in the archive more than once.")
    for name in sorted({*names, *sums} - {manifests.NAME}):
        if name not in sums:
            raise UserError(f"{path}: {name} is in the archive but not in its manifest.")
        if name not in names:
            raise UserError(f"{path}: {name} is in the manifest but missing from the archive.")
        try:
            data = archive.read(name)
        except zipfile.BadZipFile:
            data = b""
        if hashlib.sha256(data).hexdigest() != sums[name]:
            raise UserError(f"{path}: {name} is not as it was archived (its SHA-256 differs).")
    absent = [name for name in _REQUIRED_FILES if name not in sums]
    if absent:
        raise UserError(f"{path} has no {absent[0]}: it wasn't made by `mls archive`.")


def _verification(folder: Path, manifest: Manifest, path: Path) -> Verification:
    """The verification of an unpacked archive whose files agree with the manifest."""
    try:
        data = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config = parse_config(data)
        study = read_study(config, folder)
    except (ValueError, UserError) as error:
        if manifest.of_these_definitions:
            raise UserError(f"{path}: {CONFIG} can't be read ({error}).") from None
        unread = f"whether the parts belong together: this version can't read {CONFIG} ({error})."
        return Verification(len(manifest.files), None, (unread,))
    extent = _Extent(study, manifest)
    # Another version may apply the rules differently by which results decided what was measured
    doubtful = adaptive(config) and not manifest.of_these_definitions
    findings = coherence(
        config, folder, [(c.cell, [r.number for r in c.repeats]) for c in study.cells]
    )
    findings.add(extent.coherence(), doubtful)
    findings.add(_tables(folder, study, manifest), doubtful)
    findings.add(_page(folder, data, manifest))
    if findings.contradictions:
        raise UserError(f"{path}: {findings.contradictions[0]}")
    return Verification(len(manifest.files), extent.partial, tuple(findings.unchecked))


class _Extent:
    """The planned repeats of an archive, present and absent."""

    def __init__(self, study: Study, manifest: Manifest) -> None:
        self._study, self._manifest = study, manifest
        self._repeats = {
            f"runs/{run_path(study.config, repeat.cell, repeat.number)}": repeat
            for cell in study.cells
            for repeat in cell.repeats
        }
        self._absent = [n for n in self._repeats if f"{n}/{RUN}" not in manifest.files]

    @property
    def partial(self) -> Partial | None:
        """The extent of a partial archive; None for a whole one."""
        repeats, undecided = len(self._repeats), len(self._study.undecided)
        if not self._absent and not undecided:
            return None
        results = repeats - len(self._absent)
        return Partial(measured=results, planned=repeats, undecided=undecided)

    def coherence(self) -> Coherence:
        """The comparison of config, decisions, manifest and repeats with each other."""
        manifest, findings = self._manifest, Coherence()
        if self._study.config.name != manifest.name:
            why = f"one is of sweep {self._study.config.name}, the other of {manifest.name}"
            findings.contradictions.append(apart(CONFIG, manifests.NAME, why))
        for name in sorted(manifest.files):
            if name.startswith("runs/") and str(PurePosixPath(name).parent) not in self._repeats:
                why = "the config doesn't plan this repeat"
                findings.contradictions.append(apart(name, CONFIG, why))
        if len(self._absent) == len(self._repeats):
            why = f"there is none of the {len(self._repeats)} repeats that it plans"
            findings.contradictions.append(apart(CONFIG, _RECORDS, why))
        self._check_read(findings)
        if manifest.manifest_version >= _SAYS_PARTIAL:
            findings.contradictions += self._against_manifest()
        return findings

    def _check_read(self, findings: Coherence) -> None:
        """Add a finding for each `run.json` that isn't a result."""
        for name, repeat in self._repeats.items():
            if repeat.result is None and name not in self._absent:
                if self._manifest.of_these_definitions:
                    why = f"{name}/{RUN} is no result: {repeat.message}"
                    findings.contradictions.append(why)
                else:
                    findings.unchecked.append(
                        f"{name}, as this version can't read it: {repeat.message}"
                    )

    def _against_manifest(self) -> Iterator[str]:
        """Sentences on differences between the archive's extent and the one in its manifest."""
        claim, extent = self._manifest.partial, self.partial
        if claim is None:
            for name in self._absent:
                yield apart(CONFIG, _RECORDS, f"{name}/{RUN} is planned, and it isn't there")
            for line in self._study.undecided:
                yield apart(CONFIG, PLAN, f"the last decision on {line} isn't there")
        elif claim != extent:
            why = f"the one says partial, {claim}, the others are {extent or 'complete'}"
            yield apart(manifests.NAME, _RECORDS, why)


def _tables(folder: Path, study: Study, manifest: Manifest) -> Coherence:
    findings = Coherence()
    for each in mismatches(study, {name: (folder / name).read_bytes() for name in TABLES}):
        if each.identity or manifest.of_these_definitions:
            findings.contradictions.append(apart(each.table, _RECORDS, each.where))
        else:
            findings.unchecked.append(
                f"whether {each.table} is of {_RECORDS}: another version made it, and by the "
                f"definitions of this one {each.where}."
            )
    return findings


def _page(folder: Path, config: dict[str, Any], manifest: Manifest) -> Coherence:
    """The check of the page's digests.

    config: the archive's own data, without the keys that this version adds.
    """
    findings = Coherence()
    inputs = embedded((folder / PAGE).read_text(encoding="utf-8", errors="replace"))
    if inputs is None:
        why = "the page doesn't say what it was made from"
        if manifest.manifest_version >= _SAYS_PARTIAL:
            findings.contradictions.append(apart(PAGE, manifests.NAME, why))
        else:
            findings.unchecked.append(f"whether {PAGE} is of {CONFIG} and {_RECORDS}: {why}.")
        return findings
    parts = digests(config, manifest.files)
    findings.contradictions += [
        apart(PAGE, name, "the page was made from another")
        for name in sorted({*inputs, *parts})
        if inputs.get(name) != parts.get(name)
    ]
    return findings
