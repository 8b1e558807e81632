"""pyarrow without pandas, which it would import to ask if a list is a Series, and without threads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


class _NoPandas(MetaPathFinder):
    """A finder by which pandas isn't there."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ImportError(name=fullname)


def without_pandas() -> None:
    """Have this process's pyarrow take pandas for absent: its import takes a second.

    pyarrow looks for it once, when the first list becomes an array. Other modules may import it.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


def read_parquet(source: Path | bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or its content, in the calling thread alone. columns: by default all.

    Raises `ArrowInvalid` for anything else, and `OSError`.

    A thread of pyarrow's that lets go of Python's bytes while the process ends would abort it
    (apache/arrow, issue 34314); and where repeats are read side by side all cores work anyway.
    """
    file = pa.BufferReader(source) if isinstance(source, bytes) else source
    return pq.ParquetFile(file).read(columns, use_threads=False)
