"""The description of a model's file, which its check writes and `mls serve` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mls.core.errors import UserError
from mls.server.weights.model_files import ModelPart, folder_files

SCHEMA_VERSION = 1


class GgufFacts(BaseModel):
    """Facts by the metadata of the file or of the first part; null where it has none.

    n_params: number of parameters of all parts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    architecture: str | None
    model_name: str | None
    n_params: int
    quantization: str | None
    context_length: int | None
    chat_template: bool


class ModelFile(BaseModel):
    """The description of a model file, or of a model's parts, after its check.

    path: the file's, the first part's, or the folder's. sha256, size: over all parts in order; size
    in bytes. gguf: None for a model of another format.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    name: str
    path: str
    sha256: str
    size: int
    parts: tuple[ModelPart, ...] = ()
    """Each file by itself, in order; empty in descriptions by versions without parts."""
    source: dict[str, Any]
    gguf: GgufFacts | None

    def first_changed(self) -> str | None:
        """The path of the first file that isn't as described; None when all are."""
        folder = Path(self.path)
        if folder.is_dir():
            names = {part.path for part in self.parts}
            new = (str(file) for file in folder_files(folder) if str(file) not in names)
            if path := next(new, None):
                return path
        whole = ModelPart(path=self.path, size=self.size, modified_ns=0, sha256=self.sha256)
        return next((p.path for p in self.parts or (whole,) if not p.is_unchanged()), None)


def load_descriptor(path: Path) -> ModelFile:
    """Read a description by `describe_model`. Raises `UserError` when a file isn't as described."""
    try:
        model_file = ModelFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `mls model` for this model first.") from None
    except ValidationError:
        raise UserError(
            f"{path} doesn't describe a model file of this version; delete it and run again."
        ) from None
    if changed := model_file.first_changed():
        raise UserError(
            f"Model file {changed} is missing or has changed since it was checked; "
            f"delete {path} and run again."
        )
    return model_file
