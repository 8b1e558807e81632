"""pyarrow without pandas, which it would import to ask whether a list is a Series."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import pyarrow as pa


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
