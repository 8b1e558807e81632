"""The files of a model: one, or the parts that gguf-split made of it, which an engine finds by name.

The workflow is read where there is no package `gguf`: nothing here opens a file to understand it.
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
    """One file of a model, as it was when it was hashed. size in bytes, modified_ns by stat(2)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    size: int
    modified_ns: int
    sha256: str

    def is_unchanged(self) -> bool:
        """Whether the file is there as described. It is hashed only when its time is another one."""
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
    """What a name such as `big-00001-of-00003.gguf` says. number counts from 1."""

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
    """What the name of a file (or the path of a URL) says of a part; None when it isn't a part's."""
    match = _PART_NAME.fullmatch(name)
    return PartName(match[1], int(match[2]), int(match[3])) if match else None


def described_parts(files: Sequence[Path], final: Sequence[Path]) -> tuple[list[ModelPart], str]:
    """Each file as it is now, and the SHA-256 over the bytes of all, in order.

    final: where they will be, when they are elsewhere for now. Raises `OSError`.
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
    """SHA-256 of each file of a local model, as it is now; `first` is its path in the config.

    A file that isn't there has the one that `description`, made by `mls model`, knows, or None: what
    was measured with it stays. Nothing is hashed that is as described.
    """
    file = Path(first).expanduser()
    name = part_name(file.name)
    files = [file.with_name(one) for one in name.all] if name else [file]
    known = {part.path: part for part in _parts_in(description)}
    return [_sha256_now(one, known.get(str(one))) for one in files]


def _sha256_now(file: Path, known: ModelPart | None) -> str | None:
    if known and (known.is_unchanged() or not file.exists()):
        return known.sha256
    try:
        return file_sha256(file)
    except OSError:
        return None


def _parts_in(description: Path) -> list[ModelPart]:
    described: Any = read_json(description)
    try:
        return [ModelPart.model_validate(part) for part in described["parts"]]
    except (KeyError, TypeError, ValidationError):
        return []
