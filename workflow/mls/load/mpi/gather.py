"""The records of all ranks, merged on rank 0 without being in its memory all at once.

Each rank writes its own records as a Parquet file beside the result: a part. Rank 0 merges the
parts by job, a row group of each at a time. Records that rank 0 can't read that way (on another
host's disk, or of a run that writes nothing) are sent in messages of one table each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mpi4py import MPI
from numpy.typing import NDArray

from mls.core.record import REQUESTS
from mls.core.run_folder import make_parts
from mls.load.mpi.collective import agree, agreed
from mls.load.mpi.part_files import merged, write_tables

_PIECE = 21
# no figure needs these columns, and they are longer than most
_TEXTS = {"request_id", "output"}
_FIGURES = [name for name in REQUESTS.names if name not in _TEXTS]


@dataclass(frozen=True)
class PooledRecords:
    """The records of all ranks in the order of jobs.

    table: all columns without an output, else those that figures need. file: all columns, for the
    result; None without an output. The file's folder is temporary.
    """

    table: pa.Table
    file: Path | None


def gather(
    comm: MPI.Intracomm, tables: Iterable[pa.Table], output: Path | None
) -> PooledRecords | None:
    """All records on rank 0, None elsewhere. Collective over `comm`.

    tables: this rank's records (schema `REQUESTS`) in the order of jobs. output: the run's folder.
    Sums over the records are checked against those of the ranks. Raises `UserError` on every rank
    when one can't write its part, and on rank 0 when it can't write the merged file.
    """
    own = agreed(comm, lambda: make_parts(output) if output and comm.rank == 0 else None)
    folder: Path | None = comm.bcast(own, root=0)
    sums = np.zeros(2, np.int64)
    parts = _collect(comm, _add_totals(tables, sums), folder)
    total_sums = np.empty_like(sums)
    comm.Allreduce(sums, total_sums)
    if comm.rank:
        return None
    if folder is None:
        pooled = PooledRecords(pa.concat_tables(parts).combine_chunks().sort_by("job"), None)
    else:
        file = folder / "all.parquet"
        write_tables(file, merged(parts))
        pooled = PooledRecords(pq.read_table(file, columns=_FIGURES), file)
    if totals(pooled.table) != total_sums.tolist():
        raise RuntimeError(
            f"gathered {totals(pooled.table)} tokens and requests, "
            f"but the ranks counted {total_sums.tolist()}"
        )
    return pooled


def _collect(comm: MPI.Intracomm, tables: Iterable[pa.Table], folder: Path | None) -> list[Any]:
    """On rank 0, the paths of all parts in the order of ranks; without a folder, the tables."""
    part = folder / f"{comm.rank}.parquet" if folder and folder.is_dir() else None
    own_tables: list[pa.Table] = []
    if part:
        agreed(comm, lambda: write_tables(part, tables))
    else:
        own_tables = list(tables)
        agree(comm, None)
    without_part = comm.gather(part is None, root=0)
    if without_part is None:
        for message in [*map(_to_bytes, own_tables), None] if part is None else []:
            comm.send(message, dest=0, tag=_PIECE)
        return []
    senders = [rank for rank in range(1, comm.size) if without_part[rank]]
    if folder is None:
        return own_tables + [table for rank in senders for table in _tables_from(comm, rank)]
    for rank in senders:
        write_tables(folder / f"{rank}.parquet", _tables_from(comm, rank))
    return [folder / f"{rank}.parquet" for rank in range(comm.size)]


def _add_totals(tables: Iterable[pa.Table], sums: NDArray[np.int64]) -> Iterator[pa.Table]:
    for table in tables:
        sums += totals(table)
        yield table


def totals(table: pa.Table) -> list[int]:
    """Completion tokens and requests of a table."""
    # numpy's: ranks that send their records away don't need pyarrow's kernels, whose import takes 40 ms
    return [int(np.nansum(table["completion_tokens"].to_numpy())), table.num_rows]


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _tables_from(comm: MPI.Intracomm, rank: int) -> Iterator[pa.Table]:
    while (message := comm.recv(source=rank, tag=_PIECE)) is not None:
        yield pa.ipc.open_stream(message).read_all()
