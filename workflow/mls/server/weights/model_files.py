"""The files of a model: one, its parts by gguf-split, which an engine finds by name, or a folder's.

The workflow imports this module where the package `gguf` is missing: no file is parsed here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mls.core.digest import file_sha256
from mls.core.files import read_json

_CHUNK = 1 << 20
_PART_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)


class ModelPart(BaseModel):
    """One file of a model at the time of its hashing. size: bytes; modified_ns: st_mtime_ns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    size: int
    modified_ns: int
    sha256: str

    def is_unchanged(self) -> bool:
        """Whether the file is as described. It is hashed only if its modification time differs."""
        file = Path(self.path)
        try:
            state = file.stat()
            if state.st_size != self.size:
                return False
            return state.st_mtime_ns == self.modified_ns or file_sha256(file) == self.sha256
        except OSError:
            return False


@dataclass(frozen=True)
class PartName:
    """The parts of a name such as `big-00001-of-00003.gguf`. number counts from 1."""

    prefix: str
    number: int
    count: int

    def of(self, number: int) -> str:
        """The name of another part of the same model."""
        return f"{self.prefix}-{number:05d}-of-{self.count:05d}.gguf"

    @property
    def all(self) -> list[str]:
        """The names of all parts, in order."""
        return [self.of(number) for number in range(1, self.count + 1)]


def part_name(name: str) -> PartName | None:
    """The parsed name of a file, or path of a URL; None when it isn't that of a part."""
    match = _PART_NAME.fullmatch(name)
    return PartName(match[1], int(match[2]), int(match[3])) if match else None


def folder_files(folder: Path) -> list[Path]:
    """All files below a model's folder, in the order of their names there.

    Hidden ones are left out, and the bytecode that Python leaves beside a model's own code.
    """
    names = sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    )
    return [folder / name for name in names if not re.search(r"(^|/)(\.|__pycache__/)", name)]


def described_parts(files: Sequence[Path], final: Sequence[Path]) -> tuple[list[ModelPart], str]:
    """(each file as it is now, the SHA-256 over the bytes of all files in order).

    final: the paths in the descriptions, while the files are in temporary ones. Raises `OSError`.
    """
    parts = []
    whole = hashlib.sha256()
    for file, place in zip(files, final, strict=True):
        state = file.stat()
        own = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                own.update(chunk)
                if len(files) > 1:
                    whole.update(chunk)
        parts.append(
            ModelPart(
                path=str(place),
                size=state.st_size,
                modified_ns=state.st_mtime_ns,
                sha256=own.hexdigest(),
            )
        )
    return parts, whole.hexdigest() if len(files) > 1 else parts[0].sha256


def local_sha256(first: str, description: Path) -> list[str | None]:
    """The present SHA-256 of each file of a local model. first: the model's path in the config.

    description: the output of `mls model`. Its SHA-256 stands for that of a missing file, so that
    earlier results stay valid; None where it has none. A file that is as described isn't hashed.
    """
    file = Path(first).expanduser()
    parts = {part.path: part for part in _parts_in(description)}
    name = part_name(file.name)
    if file.is_dir():
        files = folder_files(file)
    elif name:
        files = [file.with_name(one) for one in name.all]
    else:
        in_folder = [Path(path) for path in parts if file in Path(path).parents]
        files = [file] if file.exists() else in_folder or [file]
    return [_sha256_now(one, parts.get(str(one))) for one in files]


def _sha256_now(file: Path, part: ModelPart | None) -> str | None:
    if part and (part.is_unchanged() or not file.exists()):
        return part.sha256
    try:
        return file_sha256(file)
    except OSError:
        return None


def _parts_in(description: Path) -> list[ModelPart]:
    content: Any = read_json(description)
    try:
        return [ModelPart.model_validate(part) for part in content["parts"]]
    except (KeyError, TypeError, ValidationError):
        return []
