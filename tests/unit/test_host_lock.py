"""The lock on a folder: one holder at a time, and none after its end."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from mls.core.errors import UserError
from mls.host.lock import only_one

HOLDER = """
import sys, time
from pathlib import Path
from mls.host.lock import only_one
only_one(Path(sys.argv[1]))
import subprocess
child = subprocess.Popen(["sleep", "600"], close_fds=False)
print(child.pid, flush=True)
time.sleep(600)
"""


@contextmanager
def holder(path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True
    )
    child = int(process.stdout.readline())
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        os.kill(child, 9)


def test_a_second_one_is_told_who_is_first(tmp_path):
    path = tmp_path / "lock"
    with holder(path) as first, pytest.raises(UserError) as error:
        only_one(path)
    assert f"Another `make report` or snakemake (process {first.pid}) is at work" in str(
        error.value
    )


def test_a_killed_holder_leaves_no_lock_though_its_child_lives_on(tmp_path):
    path = tmp_path / "lock"
    with holder(path) as first:
        first.kill()
        first.wait()
        with holder(path) as second:
            assert path.read_text() == f"{second.pid}\n"


def test_a_folder_that_cannot_be_written_is_one_sentence():
    with pytest.raises(UserError, match="can't be written"):
        only_one(Path("/proc/nowhere/lock"))
