"""The records of all ranks, brought together on rank 0 without being in its memory all at once.

Each rank writes its own as a Parquet file beside the result, a part; rank 0 merges the parts by
job, a row group of each at a time. What rank 0 can't read that way (another host's disk, or a
run that writes nothing) comes by messages, each with one table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mpi4py import MPI
from numpy.typing import NDArray

from mls.core.record import REQUESTS
from mls.core.run_folder import make_parts
from mls.load.mpi.collective import agree, agreed
from mls.load.mpi.part_files import merged, write_tables

_PIECE = 21
# not needed for any figure, and longer than most that are
_TEXTS = {"request_id", "prompt_sha256", "output_sha256", "output"}
_FIGURES = [name for name in REQUESTS.names if name not in _TEXTS]


@dataclass(frozen=True)
class Pooled:
    """All ranks' records in the order of jobs.

    table: without an output all columns, else those that figures are made of; file: all of them,
    for the result to be made of; the folder that it is in goes with `discard`.
    """

    table: pa.Table
    file: Path | None


def gather(comm: MPI.Intracomm, tables: Iterable[pa.Table], output: Path | None) -> Pooled | None:
    """All records on rank 0, None elsewhere; their sums are checked against the ranks' own.

    tables: this rank's records (schema `REQUESTS`) in the order of jobs. output: the run's folder.
    Raises `UserError` on every rank when one can't write its part, and on rank 0 when it can't
    write them all.
    """
    own = agreed(comm, lambda: make_parts(output) if output and comm.rank == 0 else None)
    folder: Path | None = comm.bcast(own, root=0)
    counted = np.zeros(2, np.int64)
    found = _collect(comm, _counting(tables, counted), folder)
    expected = np.empty_like(counted)
    comm.Allreduce(counted, expected)
    if comm.rank:
        return None
    if folder is None:
        pooled = Pooled(pa.concat_tables(found).combine_chunks().sort_by("job"), None)
    else:
        file = folder / "all.parquet"
        write_tables(file, merged(found))
        pooled = Pooled(pq.read_table(file, columns=_FIGURES), file)
    if totals(pooled.table) != expected.tolist():
        raise RuntimeError(
            f"gathered {totals(pooled.table)} tokens and requests, "
            f"but the ranks counted {expected.tolist()}"
        )
    return pooled


def _collect(comm: MPI.Intracomm, tables: Iterable[pa.Table], folder: Path | None) -> list[Any]:
    """On rank 0: the parts, one a rank; without a folder, the tables themselves."""
    part = folder / f"{comm.rank}.parquet" if folder and folder.is_dir() else None
    held: list[pa.Table] = []
    if part:
        agreed(comm, lambda: write_tables(part, tables))
    else:
        held = list(tables)
        agree(comm, None)
    told = comm.gather(part is None, root=0)
    if told is None:
        for message in [*map(_packed, held), None] if part is None else []:
            comm.send(message, dest=0, tag=_PIECE)
        return []
    senders = [rank for rank in range(1, comm.size) if told[rank]]
    if folder is None:
        return held + [table for rank in senders for table in _received(comm, rank)]
    for rank in senders:
        write_tables(folder / f"{rank}.parquet", _received(comm, rank))
    return [folder / f"{rank}.parquet" for rank in range(comm.size)]


def _counting(tables: Iterable[pa.Table], counted: NDArray[np.int64]) -> Iterator[pa.Table]:
    for table in tables:
        counted += totals(table)
        yield table


def totals(table: pa.Table) -> list[int]:
    """Completion tokens and requests of a table."""
    return [int(pc.sum(table["completion_tokens"]).as_py() or 0), table.num_rows]


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _received(comm: MPI.Intracomm, rank: int) -> Iterator[pa.Table]:
    while (message := comm.recv(source=rank, tag=_PIECE)) is not None:
        yield pa.ipc.open_stream(message).read_all()
