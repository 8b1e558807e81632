"""The manifest of an archive: what is in it, whether that is all, and by which definitions."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mls.core.digest import data_sha256, sources_sha256
from mls.core.errors import UserError

NAME = "manifest.json"
VERSION = 2
"""Since 2 the page says what it was made from, and every planned repeat is there unless `partial`."""

PAGE = "report.html"
DIGEST_LENGTH = 12
_DEFINING = ("core", "config", "analysis")
"""Layers that decide what figures the same records come to."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Partial(_Strict):
    """How much of what is planned a partial archive holds."""

    measured: int
    planned: int
    """Repeats; those of them with a result are measured."""
    undecided: int = 0
    """Cells or searches of which the results have yet to decide whether more is measured."""

    def __str__(self) -> str:
        more = f", {self.undecided} not decided to the end" if self.undecided else ""
        return f"{self.measured} of {self.planned} planned repeats{more}"


class Manifest(_Strict):
    manifest_version: int
    name: str
    """Of the sweep."""
    definitions: str | None = None
    """Digest of the sources that made the tables; None: made before it was kept."""
    partial: Partial | None = None
    files: dict[str, str]
    """SHA-256 of each other file by its name."""

    @property
    def digest(self) -> str:
        """Of all files, as in the archive's own name."""
        return data_sha256(self.files)[:DIGEST_LENGTH]

    @property
    def of_these_definitions(self) -> bool:
        """Whether the tables were made by the definitions of this very version."""
        return self.definitions == definitions()

    @property
    def file_name(self) -> str:
        """The archive's own."""
        return f"{self.name}{'-partial' if self.partial else ''}-{self.digest}.zip"


def definitions() -> str:
    """Digest of the sources that decide what figures records come to."""
    return sources_sha256(*_DEFINING)


def read_manifest(packed: zipfile.ZipFile, path: Path) -> Manifest:
    """The manifest of an archive at `path`. Raises `UserError` when it has none that can be read."""
    try:
        manifest = Manifest.model_validate_json(packed.read(NAME))
    except KeyError:
        raise UserError(f"{path} has no {NAME}: it wasn't made by `mls archive`.") from None
    except (ValidationError, zipfile.BadZipFile):
        raise UserError(
            f"{path}: {NAME} is damaged, or of a later version of mls than reads up to "
            f"manifest version {VERSION}."
        ) from None
    named = re.search(rf"-([0-9a-f]{{{DIGEST_LENGTH}}})\.zip$", path.name)
    if named and named[1] != manifest.digest:
        raise UserError(f"{path}: the digest in its name doesn't fit its manifest.")
    return manifest
