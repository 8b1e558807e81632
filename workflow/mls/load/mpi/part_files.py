"""Parts: Parquet files in the run's folder with the records of one rank each, until the merge."""

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
    """Write tables (schema `REQUESTS`) to a file, one row group each. Raises `UserError`."""
    try:
        with pq.ParquetWriter(path, REQUESTS, compression=_COMPRESSION) as writer:
            for table in tables:
                writer.write_table(table)
    except OSError as error:
        raise unwritable(path, error) from None


def merged(parts: list[Path]) -> Iterator[pa.Table]:
    """The rows of all parts in the order of jobs. Each part must be in that order.

    At most two row groups of each part are in memory.
    """
    readers = [reader for reader in map(_Part, parts) if reader.more()]
    while readers:
        # the rows of a part that are still to be read come after its last row here
        bound = min(reader.last_job for reader in readers)
        yield pa.concat_tables([reader.take(bound) for reader in readers]).sort_by("job")
        readers = [reader for reader in readers if reader.more()]


class _Part:
    """A part, read row group by row group."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._next = 0
        self._head: pa.Table = REQUESTS.empty_table()

    def more(self) -> bool:
        """Whether there are rows. Reads on when few are left, so that no step is small."""
        while self._next < self._file.num_row_groups:
            if self._head.num_rows > self._file.metadata.row_group(self._next).num_rows // 2:
                break
            group = self._file.read_row_group(self._next)
            self._head = pa.concat_tables([self._head, group]).combine_chunks()
            self._next += 1
        if not self._head.num_rows:
            self._file.close()
        return self._head.num_rows > 0

    @property
    def last_job(self) -> int:
        return int(self._head["job"][-1].as_py())

    def take(self, bound: int) -> pa.Table:
        """Remove and return the rows up to this job."""
        count = int(np.searchsorted(self._head["job"].to_numpy(), bound, side="right"))
        rows, self._head = self._head.slice(0, count), self._head.slice(count)
        return rows
