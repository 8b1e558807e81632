"""Images and audio in a dataset's messages: within the dataset, in files, or at a URL.

Base64 in the dataset and URLs of the web are sent as they are. A file is read once, before the load,
from the folder `workload.media`, and sent as base64. Nothing outside of this folder is read: a
dataset may come from anyone, and the server may be anyone's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.core.units import MIB
from mls.load.workload.unusable import UnusableRowError
from mls.protocol.content import AUDIO_APIS, IMAGE_APIS, Content, Part

MOST_BYTES = 256 * MIB
"""The most images and audio of a run, as each rank has them in memory."""

_FILE = "file:"
_WEB = ("http://", "https://")
_DATA = "data:"
_BASE64 = ";base64,"
_HOLDERS = {"image_url": "url", "input_audio": "data"}
"""The field of a part that holds its data."""
_QUOTE_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a prompt has of images and audio. size: their bytes; None where one is at a URL."""

    parts: int
    size: int | None
    sha256: str


@dataclass(frozen=True, slots=True)
class _Datum:
    """One image or recording as it is sent. size: in bytes; None of a URL, which isn't fetched."""

    value: str
    size: int | None
    sha256: bytes


class Media:
    """The images and audio of one dataset, each kept once. folder: `workload.media`."""

    def __init__(self, folder: str | None) -> None:
        self._folder = Path(folder).expanduser().resolve() if folder else None
        self._of_files: dict[str, str] = {}
        self._known: dict[str, _Datum] = {}
        self._size = 0

    def part(self, part: Any, place: str) -> Part:
        """A part of a message in OpenAI's form, a file as its path. Raises `UnusableRowError`.

        place: whose part it is, with which a reason begins.
        """
        kind = part.get("type") if isinstance(part, dict) else None
        value = part.get(kind) if isinstance(kind, str) else None
        if kind == "image_url" and isinstance(value, dict):
            detail = {"detail": value["detail"]} if value.get("detail") else {}
            return {"type": kind, kind: {"url": self._image(value.get("url"), place), **detail}}
        if kind == "input_audio" and isinstance(value, dict):
            return {"type": kind, kind: self._audio(value, place)}
        raise UnusableRowError(f"{place} has parts other than text, image_url and input_audio")

    def loaded(self, content: Content) -> tuple[Content, MediaFacts | None]:
        """(the content with its files as base64, what it has of images and audio).

        Raises `UserError` for a file that can't be read, and when all that was loaded is too much.
        """
        if isinstance(content, str):
            return content, None
        parts, sizes, digest = [], [], hashlib.sha256()
        for part in content:
            kind = part["type"]
            if kind == "text":
                parts.append(part)
                continue
            name = _HOLDERS[kind]
            datum = self._datum(part[kind][name], kind)
            parts.append({"type": kind, kind: part[kind] | {name: datum.value}})
            sizes.append(datum.size)
            digest.update(datum.sha256)
        known = [size for size in sizes if size is not None]
        size = sum(known) if len(known) == len(sizes) else None
        return parts, MediaFacts(len(sizes), size, digest.hexdigest())

    def _image(self, url: Any, place: str) -> str:
        if not isinstance(url, str) or not url:
            raise UnusableRowError(f"{place} has an image without url")
        if url.startswith(_WEB):
            return url
        if url.startswith(_DATA):
            head, mark, data = url.partition(_BASE64)
            if not mark or not head.startswith(f"{_DATA}image/"):
                raise UnusableRowError(f"{place} has a data URL that is no data:image/…;base64,…")
            _check_base64(data, place)
            return url
        path = self._path(url, place)
        if not _media_type(path).startswith("image/"):
            raise UnusableRowError(f"{place} names {path.name!r}, by its ending no image")
        return f"{_FILE}{path}"

    def _audio(self, value: dict[str, Any], place: str) -> dict[str, str]:
        data, form = value.get("data"), value.get("format")
        if not isinstance(data, str) or not data:
            raise UnusableRowError(f"{place} has audio without data")
        if data.startswith(_FILE):
            path = self._path(data, place)
            form = form or path.suffix.lower().removeprefix(".")
            data = f"{_FILE}{path}"
        else:
            _check_base64(data, place)
        if not isinstance(form, str) or not form:
            raise UnusableRowError(f"{place} has audio without format")
        return {"data": data, "format": form}

    def _path(self, url: str, place: str) -> Path:
        name = url.removeprefix(_FILE)
        quoted = repr(name[:_QUOTE_CHARACTERS])
        if self._folder is None:
            raise UnusableRowError(
                f"{place} names the file {quoted}, and workload.media names no folder"
            )
        try:
            path = (self._folder / name).resolve()
            is_there = path.is_file()
        except (OSError, ValueError):  # no name that a file can have
            is_there = False
        if is_there and not path.is_relative_to(self._folder):
            raise UnusableRowError(f"{place} names {quoted}, which is outside of workload.media")
        if not is_there:
            raise UnusableRowError(f"{place} names {quoted}, which workload.media lacks")
        return path

    def _datum(self, value: str, kind: str) -> _Datum:
        if value.startswith(_FILE):
            if value not in self._of_files:
                self._of_files[value] = self._read(Path(value.removeprefix(_FILE)), kind)
            value = self._of_files[value]
        if value not in self._known:
            data = b"" if value.startswith(_WEB) else base64.b64decode(value.rpartition(",")[2])
            self._check_size(len(data))
            self._size += len(data)
            digest = hashlib.sha256(data or value.encode()).digest()
            self._known[value] = _Datum(value, len(data) if data else None, digest)
        return self._known[value]

    def _read(self, path: Path, kind: str) -> str:
        try:
            self._check_size(path.stat().st_size)
            data = base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise UserError(f"workload.media: {path} can't be read ({error.strerror}).") from None
        return f"{_DATA}{_media_type(path)}{_BASE64}{data}" if kind == "image_url" else data

    def _check_size(self, size: int) -> None:
        if self._size + size > MOST_BYTES:
            raise UserError(
                "workload.file: the rows that a run draws have more than "
                f"{MOST_BYTES // MIB} MiB of images and audio, which each rank has in memory; use "
                "fewer or smaller ones, or name them by their URLs."
            )


def check_endpoint(run: Run, file: str, contents: Iterable[Content]) -> None:
    """Raise `UserError` for images or audio that the run's endpoint has no words for.

    file: of the dataset that they are in.
    """
    kinds = {part["type"] for each in contents if not isinstance(each, str) for part in each}
    for kind, what, apis in (
        ("image_url", "images", IMAGE_APIS),
        ("input_audio", "audio", AUDIO_APIS),
    ):
        if kind in kinds and run.api not in apis:
            raise UserError(
                f"run.endpoint: {run.endpoint} takes no {what}, which rows of {file} have; use "
                "/v1/chat/completions, or a dataset without them."
            )


def _media_type(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or ""


def _check_base64(data: str, place: str) -> None:
    try:
        empty = not base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise UnusableRowError(f"{place} has an image or audio that is not base64") from None
    if empty:
        raise UnusableRowError(f"{place} has an image or audio that is empty")
