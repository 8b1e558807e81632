"""Parts are merged by job, whichever jobs each rank had; only the result remains."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpi4py import MPI

from mls.core.errors import UserError
from mls.core.record import REQUESTS
from mls.core.run_folder import discard_parts
from mls.load.mpi.gather import gather
from mls.load.mpi.part_files import merged, write_tables


def table(jobs):
    columns = {name: [None] * len(jobs) for name in REQUESTS.names}
    columns |= {"job": list(jobs), "completion_tokens": [job % 5 for job in jobs]}
    columns["chunk_ns"] = [list(range(job % 3)) for job in jobs]
    return pa.table(columns, schema=REQUESTS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 7), st.sampled_from([1, 0.2]))
def test_any_shares_are_merged_in_the_order_of_jobs(tmp_path, owners, rows, share):
    """owners: the rank of each job. rows: of a row group. share: of rank 0's jobs in its part."""
    parts = []
    for rank in range(5):
        jobs = [job for job, owner in enumerate(owners) if owner == rank]
        jobs = jobs[: int(len(jobs) * (share if rank == 0 else 1))]
        parts.append((tmp_path / f"{rank}.parquet", jobs))
        pieces = [table(jobs[i : i + rows]) for i in range(0, len(jobs), rows)]
        write_tables(parts[-1][0], pieces or [table([])])
    order = sorted(job for _, jobs in parts for job in jobs)
    tables = list(merged([path for path, _ in parts]))
    assert [job for piece in tables for job in piece["job"].to_pylist()] == order
    if order:
        assert pa.concat_tables(tables).equals(table(order))


def test_merging_takes_steps_of_a_row_group_however_many_parts_there_are(tmp_path):
    ranks, groups, rows = 16, 8, 10
    owner = np.random.default_rng(1).permutation(np.repeat(np.arange(ranks), groups * rows))
    parts = []
    for rank in range(ranks):
        jobs = np.flatnonzero(owner == rank)
        parts.append(tmp_path / f"{rank}.parquet")
        write_tables(parts[-1], [table(jobs[i : i + rows]) for i in range(0, len(jobs), rows)])
    steps = [piece.num_rows for piece in merged(parts)]
    assert sum(steps) == ranks * groups * rows
    assert len(steps) < 4 * groups  # not one for each row group of each part
    assert max(steps) <= 2 * ranks * rows


def test_with_a_folder_the_figures_are_read_back_and_all_columns_are_in_the_file(tmp_path):
    pool = gather(MPI.COMM_SELF, [table([0, 1]), table([2])], tmp_path)
    assert pool.table["job"].to_pylist() == [0, 1, 2]
    assert "output" not in pool.table.column_names and pool.file.exists()
    discard_parts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool = gather(MPI.COMM_SELF, [table([0, 1]), table([2])], None)
    assert pool.table.equals(table([0, 1, 2]).combine_chunks()) and pool.file is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cant_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        gather(MPI.COMM_SELF, [table([0])], tmp_path / "file")
