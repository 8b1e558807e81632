"""Facts about a model by its GGUF file or its parts, and the check that these are whole."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFReader, GGUFValueType, Keys, LlamaFileType

from mls.core.errors import UserError
from mls.server.weights.description import GgufFacts
from mls.server.weights.model_files import part_name

_MAGIC = b"GGUF"
_READ_ERRORS = (ValueError, KeyError, IndexError, OverflowError, struct.error)


@dataclass(frozen=True)
class Split:
    """A part's place by its header. number counts from 1; n_tensors: of all parts together."""

    number: int
    count: int
    n_tensors: int | None


def check_gguf(path: Path) -> Path:
    """The path, for a model that is whole. Raises `UserError`."""
    read_gguf(model_files(path))
    return path


def is_gguf(path: Path) -> bool:
    """Whether a file is GGUF by its first bytes. Raises `OSError`."""
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def model_files(path: Path) -> list[Path]:
    """All files of a local model by its only file or its first, such as `big-00001-of-00003.gguf`.

    Raises `UserError` when the file can't be read, is a later part, or lacks a part's name.
    """
    split = _split(_reader(path, path))
    if split is None:
        return [path]
    name = part_name(path.name)
    if name is None or (name.number, name.count) != (split.number, split.count):
        ending = f"-{split.number:05d}-of-{split.count:05d}.gguf"
        raise UserError(
            f"Model file {path} is part {split.number} of {split.count} by its header, but its "
            f"name doesn't end with {ending}, by which an engine finds the other parts; give the "
            "first part by that name (what `cat` joined is no model: use `llama-gguf-split "
            "--merge`)."
        )
    if split.number != 1:
        raise UserError(
            f"Model file {path} is part {split.number} of {split.count}; "
            f"give the first, {path.with_name(name.of(1))}."
        )
    return [path.with_name(one) for one in name.all]


def split_of(path: Path) -> Split | None:
    """The header of a part made by gguf-split; None for any other file, whole or not."""
    try:
        return _split(_Header(path))
    except _READ_ERRORS:
        return None


def read_gguf(files: Sequence[Path], final: Sequence[Path] | None = None) -> GgufFacts:
    """Facts of a model by its GGUF file, or by all its parts in order.

    final: the paths for messages, while the files are in temporary places. Raises `UserError` when
    a file is missing, not GGUF, truncated, damaged, or another part than its place requires.
    """
    final = final or files
    readers = []
    for number, (file, place) in enumerate(zip(files, final, strict=True), start=1):
        if number > 1 and not file.exists():
            raise UserError(
                f"Model file {place} is missing: {final[0]} is the first of {len(files)} parts, "
                "which must all lie beside it."
            )
        reader = _reader(file, place)
        if len(files) > 1:
            _check_part(_split(reader), number, len(files), place)
        readers.append(reader)
    first = readers[0]
    n_tensors = sum(len(reader.tensors) for reader in readers)
    split = _split(first)
    if split and split.n_tensors not in (None, n_tensors):
        raise UserError(
            f"The {len(files)} parts of {final[0]} have {n_tensors} tensors, but its header says "
            f"{split.n_tensors}: they are not of one model; fetch them again."
        )
    architecture = _value(first, "general.architecture")
    return GgufFacts(
        architecture=architecture,
        model_name=_value(first, "general.name"),
        n_params=sum(int(tensor.n_elements) for reader in readers for tensor in reader.tensors),
        quantization=_quantization(_value(first, "general.file_type")),
        context_length=_value(first, f"{architecture}.context_length"),
        chat_template="tokenizer.chat_template" in first.fields,
    )


def _reader(path: Path, final: Path) -> GGUFReader:
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except FileNotFoundError:
        raise UserError(f"Model file {final} is missing; check its path.") from None
    except OSError as error:
        raise UserError(f"Model file {final} can't be read: {error.strerror}.") from None
    if magic != _MAGIC:
        raise UserError(
            f"Model file {final} is not GGUF: it begins with {magic!r}, not {_MAGIC!r}."
        )
    try:
        return _Header(path)
    except _READ_ERRORS as error:
        raise UserError(
            f"Model file {final} ({path.stat().st_size} bytes) is truncated or damaged "
            f"({str(error).strip() or type(error).__name__}); fetch it again."
        ) from None


def _check_part(split: Split | None, number: int, count: int, final: Path) -> None:
    if split is None or (split.number, split.count) != (number, count):
        part = f"part {split.number} of {split.count}" if split else "no part of a model"
        raise UserError(
            f"Model file {final} should be part {number} of {count}, but is {part} by its header; "
            "fetch the parts again, or give them in order."
        )


def _split(reader: GGUFReader) -> Split | None:
    count = _value(reader, Keys.Split.LLM_KV_SPLIT_COUNT)
    if not isinstance(count, int) or count <= 1:
        return None
    number = _value(reader, Keys.Split.LLM_KV_SPLIT_NO)
    n_tensors = _value(reader, Keys.Split.LLM_KV_SPLIT_TENSORS_COUNT)
    return Split((number or 0) + 1, count, n_tensors)


class _Header(GGUFReader):
    """The library's reader without the values of arrays: reading a vocabulary takes seconds."""

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
    metadata = reader.fields.get(key)
    return None if metadata is None else metadata.contents()


def _quantization(file_type: int | None) -> str | None:
    """`Q4_K_M` for `LlamaFileType.MOSTLY_Q4_K_M`."""
    if file_type is None:
        return None
    try:
        name = LlamaFileType(file_type).name
    except ValueError:
        return f"file type {file_type}"
    return str(name.removeprefix("MOSTLY_").removeprefix("ALL_"))
