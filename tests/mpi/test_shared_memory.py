"""Too small a /dev/shm: one sentence, instead of a crash in the MPI library."""

import subprocess

import pytest
from tests.mounts import with_shm


@pytest.mark.parametrize(("ranks", "options"), [(2, "size=4m"), (12, "size=16m")])
def test_ranks_say_what_they_need(mpirun, ranks, options):
    command = mpirun.command(ranks, "--server", "http://127.0.0.1:9", "--iters", 4)
    process = subprocess.run(
        with_shm(options, *command),
        env=mpirun.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    messages = [
        line for line in process.stderr.splitlines() if line.startswith("mls run: /dev/shm has ")
    ]
    assert process.returncode != 0
    assert len(messages) == 1
    assert f"and {ranks} ranks of" in messages[0]
    assert "--shm-size" in messages[0]
    for words in ("Traceback", "Bus error", "MPI_Init", "can't be reached"):
        assert words not in process.stdout + process.stderr
