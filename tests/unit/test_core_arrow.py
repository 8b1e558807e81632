"""A table read from memory leaves no thread that could abort the process as it ends."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mls.core.arrow import read_parquet

TABLE = pa.table({f"column_{n}": list(range(12)) for n in range(50)})


def test_content_and_file_give_the_same_table(tmp_path):
    path = tmp_path / "table.parquet"
    pq.write_table(TABLE, path)
    assert read_parquet(path) == read_parquet(path.read_bytes()) == TABLE
    assert read_parquet(path, ["column_7"]) == TABLE.select(["column_7"])
    with pytest.raises(pa.ArrowInvalid):
        read_parquet(b"no table")


@pytest.mark.processes
def test_reading_starts_no_thread(tmp_path):
    """With pyarrow's own threads one of nine processes ended by SIGABRT on two busy cores."""
    path = tmp_path / "table.parquet"
    pq.write_table(TABLE, path)
    script = """
import os, sys
from pathlib import Path
from mls.core.arrow import read_parquet
from mls.report.archive import packed_tables

content, before = Path(sys.argv[1]).read_bytes(), len(os.listdir("/proc/self/task"))
read_parquet(content)
packed_tables._columns("table.parquet", content)
assert len(os.listdir("/proc/self/task")) == before
"""
    subprocess.run([sys.executable, "-c", script, path], check=True)
