"""A search for keys: in files, in what they hold when unpacked, in texts, and in process lists."""

from __future__ import annotations

import contextlib
import threading
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import psutil
import pyarrow.parquet as pq


class CommandLines:
    """Command lines of all descendants of this process, while the context lasts."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    self.texts.add(" ".join(process.cmdline()))

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()


def places_of(keys: Iterable[str], folder: Path, *texts: str) -> list[str]:
    """Where a key is: names of files below the folder (members of a zip too), and beginnings of texts.

    A Parquet file is searched as it is and by its values, which are compressed.
    """
    wanted = list(keys)
    assert wanted
    contents = [*_contents(folder), *((text[:80], text) for text in texts)]
    assert len(contents) > len(texts), f"no file in {folder}"
    return [name for name, text in contents if any(key in text for key in wanted)]


def _contents(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        yield name, name
        if not path.is_file():
            continue
        yield name, path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            yield name, str(pq.read_table(path).to_pydict())
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    yield f"{name}: {member}", archive.read(member).decode("latin-1")
