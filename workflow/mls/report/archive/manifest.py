"""The manifest of an archive: its files, its extent, and the definitions behind its tables."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mls.core.digest import data_sha256, sources_sha256
from mls.core.errors import UserError

NAME = "manifest.json"
VERSION = 2
"""Since version 2 the page has its inputs' digests, and an archive without `partial` is whole."""

DIGEST_LENGTH = 12
_DEFINING = ("core", "config", "analysis")
"""Layers whose sources determine the figures of given records."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Partial(_Strict):
    """The extent of a partial archive."""

    measured: int
    planned: int
    """Numbers of repeats: with a result, and all."""
    undecided: int = 0
    """Number of cells or searches on which a further decision is due."""

    def __str__(self) -> str:
        more = f", {self.undecided} not decided to the end" if self.undecided else ""
        return f"{self.measured} of {self.planned} planned repeats{more}"


class Manifest(_Strict):
    manifest_version: int
    name: str
    """The sweep's name."""
    definitions: str | None = None
    """Digest of the sources that made the tables; None in archives of earlier versions."""
    partial: Partial | None = None
    files: dict[str, str]
    """SHA-256 of each other file by its name."""

    @property
    def digest(self) -> str:
        """The digest of all files, as in the archive's own name."""
        return data_sha256(self.files)[:DIGEST_LENGTH]

    @property
    def of_these_definitions(self) -> bool:
        """Whether the tables were made by this version's definitions."""
        return self.definitions == definitions()

    @property
    def file_name(self) -> str:
        """The archive's own file name."""
        return f"{self.name}{'-partial' if self.partial else ''}-{self.digest}.zip"


def definitions() -> str:
    """Digest of the sources that determine the figures of given records."""
    return sources_sha256(*_DEFINING)


def read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    """The manifest of an archive. path: the archive's. Raises `UserError` without a valid one."""
    try:
        manifest = Manifest.model_validate_json(archive.read(NAME))
    except KeyError:
        raise UserError(f"{path} has no {NAME}: it wasn't made by `mls archive`.") from None
    except (ValidationError, zipfile.BadZipFile):
        raise UserError(
            f"{path}: {NAME} is damaged, or of a later version of mls than reads up to "
            f"manifest version {VERSION}."
        ) from None
    digest_in_name = re.search(rf"-([0-9a-f]{{{DIGEST_LENGTH}}})\.zip$", path.name)
    if digest_in_name and digest_in_name[1] != manifest.digest:
        raise UserError(f"{path}: the digest in its name doesn't fit its manifest.")
    return manifest
