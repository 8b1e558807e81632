"""Parts: the records of one rank each, a Parquet file in the run's folder until they are merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mls.core.files import unwritable
from mls.core.record import REQUESTS

_COMPRESSION = "zstd"


def write_tables(path: Path, tables: Iterable[pa.Table]) -> None:
    """One Parquet file of tables (schema `REQUESTS`), each a row group. Raises `UserError`."""
    try:
        with pq.ParquetWriter(path, REQUESTS, compression=_COMPRESSION) as writer:
            for table in tables:
                writer.write_table(table)
    except OSError as error:
        raise unwritable(path, error) from None


def merged(parts: list[Path]) -> Iterator[pa.Table]:
    """The rows of all parts in the order of their jobs; each part is in that order.

    Up to two row groups of each part are in memory.
    """
    readers = [reader for reader in map(_Part, parts) if reader.more()]
    while readers:
        # whatever is still to be read comes after the last row of the part that it is in
        bound = min(reader.last_job for reader in readers)
        yield pa.concat_tables([reader.take(bound) for reader in readers]).sort_by("job")
        readers = [reader for reader in readers if reader.more()]


class _Part:
    """A part that is read row group by row group."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._next = 0
        self._head: pa.Table = REQUESTS.empty_table()

    def more(self) -> bool:
        """Whether there are rows; reads on when few are left, so that no step is a small one."""
        while self._next < self._file.num_row_groups:
            if self._head.num_rows > self._file.metadata.row_group(self._next).num_rows // 2:
                break
            read = self._file.read_row_group(self._next)
            self._head = pa.concat_tables([self._head, read]).combine_chunks()
            self._next += 1
        if not self._head.num_rows:
            self._file.close()
        return self._head.num_rows > 0

    @property
    def last_job(self) -> int:
        return int(self._head["job"][-1].as_py())

    def take(self, bound: int) -> pa.Table:
        """The rows up to this job, which are then no longer here."""
        count = int(np.searchsorted(self._head["job"].to_numpy(), bound, side="right"))
        taken, self._head = self._head.slice(0, count), self._head.slice(count)
        return taken
