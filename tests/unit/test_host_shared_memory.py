"""A /dev/shm that is too small for a host's ranks, or read-only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.mounts import mounted, with_shm

from mls.host.launch.shared_memory import lack_of_shared_memory

MPICH = "MPICH Version: 5.0.2"
OPEN_MPI = "Open MPI v5.0.11"


@pytest.mark.parametrize(
    ("library", "ranks", "options", "words"),
    [
        (MPICH, 2, "size=64k", "has 64 KiB, and 2 ranks of MPICH on one host need 11 MiB"),
        (MPICH, 12, "size=64m", "has 64 MiB, and 12 ranks of MPICH on one host need 66 MiB"),
        (MPICH, 1, "size=64k", "1 rank of MPICH on one host needs 6 MiB"),
        (OPEN_MPI, 2, "size=64k", "2 ranks of Open MPI on one host need 18 MiB"),
        (MPICH, 2, "size=1g,ro", "is read-only"),
    ],
)
def test_too_little_is_named(
    tmp_path: Path, library: str, ranks: int, options: str, words: str
) -> None:
    folder = tmp_path / "shm"
    with mounted(folder, options):
        sentence = lack_of_shared_memory(library, ranks, folder)
    assert sentence
    assert str(folder) in sentence
    assert words in sentence
    assert "--shm-size" in sentence or "remount,rw" in sentence


@pytest.mark.parametrize(
    ("library", "ranks", "options"),
    [
        (MPICH, 11, "size=64m"),
        (MPICH, 12, "size=66m"),
        (MPICH, 200, "size=0"),  # without a limit
        (OPEN_MPI, 64, "size=64m"),
        (OPEN_MPI, 1, "size=64k"),
        (OPEN_MPI, 2, "size=64k,ro"),  # Open MPI then takes TMPDIR
        ("Another MPI", 2, "size=64k"),
    ],
)
def test_enough_and_unknown_are_left_alone(
    tmp_path: Path, library: str, ranks: int, options: str
) -> None:
    with mounted(tmp_path / "shm", options):
        assert lack_of_shared_memory(library, ranks, tmp_path / "shm") is None


def test_no_such_folder(tmp_path: Path) -> None:
    assert lack_of_shared_memory(MPICH, 2, tmp_path / "none") is None


def test_the_launchers_check_says_so() -> None:
    hello = "from mls.host.launch.programs import hello; hello('mpirun')"
    process = subprocess.run(
        with_shm("size=64k", sys.executable, "-c", hello),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "UserError: /dev/shm has 64 KiB, and 2 ranks of" in process.stderr
