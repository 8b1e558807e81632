"""Model files: fetched from their sources, checked, described."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mls.config.cells import cells
from mls.config.config import Config, ModelSource
from mls.config.settings import settings
from mls.core.errors import UserError, nearest
from mls.core.files import read_json, unwritable, write_json
from mls.server.weights.description import SCHEMA_VERSION, GgufFacts, ModelFile
from mls.server.weights.gguf import is_gguf, model_files, read_gguf, split_of
from mls.server.weights.model_files import ModelPart, PartName, described_parts, folder_files
from mls.server.weights.pieces import all_parts, pieces_of


def describe_model(name: str, config: Config, folder: Path) -> dict[str, Any]:
    """Fetch the model into `folder` if need be, and describe it, ready for JSON.

    A model of a server that is already running has no file: the description then has the server's
    URL and the source only. Raises `UserError`.
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
    of_any_format = bool(servers) and all(server.engine == "command" for server in servers)
    return fetch(name, source, folder, of_any_format=of_any_format).model_dump(mode="json")


def fetch(
    name: str, source: ModelSource, folder: Path, *, of_any_format: bool = False
) -> ModelFile:
    """The model's file: a local path in place, any other source as `<folder>/<name>.gguf`.

    A model in parts stays in parts: an engine finds them by their names,
    `<folder>/<name>-00001-of-00003.gguf`. Its source names the first part by a local path, a URL or
    `file`, or all parts by `file`. Files of an earlier fetch are used again while their SHA-256 is
    right. The description's paths are relative where `folder`, or the config's path, is: such a
    description survives a move of the checkout. Raises `UserError`.
    """
    if not source.has_file:
        raise UserError(
            f"models.{name}: give one of package, path, hub_repo and url, "
            "or server.url of a server that is already running."
        )
    if source.path:
        path = Path(source.path).expanduser()
        if of_any_format and not _is_gguf(name, path):
            return _describe_any(name, source, path)
        files = model_files(path)
    else:
        note = folder / f"{name}.gguf.origin.json"
        files = _files_of_earlier_fetch(note, folder / f"{name}.gguf", source)
        if not files:
            return _download(name, source, folder, note)
    return _describe(name, source, files, files)


def _describe(
    name: str, source: ModelSource, files: Sequence[Path], final: Sequence[Path]
) -> ModelFile:
    """Check the files and describe them. final: their paths after the check."""
    return _model_file(name, source, files, final, str(final[0]), read_gguf(files, final))


def _describe_any(name: str, source: ModelSource, path: Path) -> ModelFile:
    """The description of a local file of any format, or of a folder's files in order of names."""
    files = folder_files(path) if path.is_dir() else [path]
    if not files:
        raise UserError(f"models.{name}.path: the folder {path} has no files; correct the path.")
    return _model_file(name, source, files, files, str(path), None)


def _is_gguf(name: str, path: Path) -> bool:
    try:
        return not path.is_dir() and is_gguf(path)
    except OSError as error:
        raise UserError(
            f"models.{name}.path: {path} can't be read ({error.strerror}); correct the path."
        ) from None


def _model_file(
    name: str,
    source: ModelSource,
    files: Sequence[Path],
    final: Sequence[Path],
    path: str,
    facts: GgufFacts | None,
) -> ModelFile:
    parts, sha256 = described_parts(files, final)
    if source.sha256 and sha256 != source.sha256:
        raise UserError(
            f"models.{name}: {path} has SHA-256 {sha256}{_over(parts)}, but "
            f"models.{name}.sha256 says {source.sha256}; correct it, or fetch the right file."
        )
    return ModelFile(
        name=name,
        path=path,
        sha256=sha256,
        size=sum(part.size for part in parts),
        parts=tuple(parts),
        source=_origin(source),
        gguf=facts,
    )


def _over(parts: Sequence[ModelPart]) -> str:
    return f" over all {len(parts)} parts" if len(parts) > 1 else ""


def _download(name: str, source: ModelSource, folder: Path, note: Path) -> ModelFile:
    """Fetch into temporary files beside the final ones, check them, then rename them."""
    pieces = pieces_of(name, source, folder)
    final = [folder / f"{name}.gguf"]
    files: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.append(_temporary(final[0]))
        with files[0].open("wb") as out:
            pieces[0].copy(out)
        if split := split_of(files[0]):
            pieces = all_parts(name, pieces, split.count)
            whole = PartName(name, 1, split.count)
            final = [folder / one for one in whole.all]
            files += [_temporary(one) for one in final[1:]]
            for piece, file in zip(pieces[1:], files[1:], strict=True):
                with file.open("wb") as out:
                    piece.copy(out)
        else:
            with files[0].open("ab") as out:
                for piece in pieces[1:]:
                    piece.copy(out)
        model_file = _describe(name, source, files, final)
        for file, place in zip(files, final, strict=True):
            file.replace(place)
        names = [place.name for place in final]
        origin = {"source": _origin(source), "sha256": model_file.sha256, "files": names}
        write_json(note, origin)
        return model_file
    except OSError as error:
        raise unwritable(final[0], error) from None
    finally:
        for file in files:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def _temporary(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}.part")


def _files_of_earlier_fetch(note: Path, single: Path, source: ModelSource) -> list[Path]:
    """The files of an earlier fetch, if their SHA-256 is the config's, else the note's; else []."""
    content = read_json(note)
    origin = content if isinstance(content, dict) else {}
    files = [note.with_name(name) for name in origin.get("files", [single.name])]
    sha256 = source.sha256
    if not sha256 and origin.get("source") == _origin(source):
        sha256 = origin.get("sha256")
    try:
        right = sha256 and described_parts(files, files)[1] == sha256
    except OSError:
        return []
    return files if right else []


def _origin(source: ModelSource) -> dict[str, Any]:
    return source.model_dump(mode="json", exclude={"server", "served_as"}, exclude_none=True)
