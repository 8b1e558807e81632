"""What a GGUF file says about its model, and whether the file is whole."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from gguf import GGUFReader, GGUFValueType, LlamaFileType
from pydantic import BaseModel, ConfigDict

from mls.core.errors import UserError

_MAGIC = b"GGUF"


class GgufFacts(BaseModel):
    """From the file's own metadata; null where it has none."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    architecture: str | None
    model_name: str | None
    n_params: int
    quantization: str | None
    context_length: int | None
    chat_template: bool


def check_gguf(path: Path) -> Path:
    """The path, when a whole GGUF file is there. Raises `UserError`."""
    read_gguf(path)
    return path


def read_gguf(path: Path, shown: Path | None = None) -> GgufFacts:
    """Facts of a GGUF file. shown: the path for messages, when it is there only for now.

    Raises `UserError` when it is missing, not GGUF, truncated or damaged.
    """
    shown = shown or path
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except FileNotFoundError:
        raise UserError(f"Model file {shown} is missing; check its path.") from None
    except OSError as error:
        raise UserError(f"Model file {shown} can't be read: {error.strerror}.") from None
    if magic != _MAGIC:
        raise UserError(
            f"Model file {shown} is not GGUF: it begins with {magic!r}, not {_MAGIC!r}."
        )
    try:
        reader = _Header(path)
    except (ValueError, KeyError, IndexError, OverflowError, struct.error) as error:
        raise UserError(
            f"Model file {shown} ({path.stat().st_size} bytes) is truncated or damaged "
            f"({str(error).strip() or type(error).__name__}); fetch it again."
        ) from None
    architecture = _value(reader, "general.architecture")
    file_type = _value(reader, "general.file_type")
    return GgufFacts(
        architecture=architecture,
        model_name=_value(reader, "general.name"),
        n_params=sum(int(tensor.n_elements) for tensor in reader.tensors),
        quantization=_quantization(file_type),
        context_length=_value(reader, f"{architecture}.context_length"),
        chat_template="tokenizer.chat_template" in reader.fields,
    )


class _Header(GGUFReader):
    """The library's reader without the values of arrays: a vocabulary takes it seconds to read."""

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        if GGUFValueType(raw_type) != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        order = "<" if (self.byte_order == "I") == (struct.pack("=H", 1) == b"\1\0") else ">"
        view = self.data.data
        kind, length = struct.unpack_from(f"{order}IQ", view, orig_offs)
        offset = orig_offs + struct.calcsize(f"{order}IQ")
        if GGUFValueType(kind) == GGUFValueType.STRING:
            size = struct.Struct(f"{order}Q")
            for _ in range(length):
                offset += size.size + size.unpack_from(view, offset)[0]
        else:
            offset += length * self.gguf_scalar_to_np[GGUFValueType(kind)]().itemsize
        return offset - orig_offs, [], [], [GGUFValueType.ARRAY]


def _value(reader: GGUFReader, key: str) -> Any:
    found = reader.fields.get(key)
    return None if found is None else found.contents()


def _quantization(file_type: int | None) -> str | None:
    """`Q4_K_M` for `LlamaFileType.MOSTLY_Q4_K_M`."""
    if file_type is None:
        return None
    try:
        name = LlamaFileType(file_type).name
    except ValueError:
        return f"file type {file_type}"
    return str(name.removeprefix("MOSTLY_").removeprefix("ALL_"))
