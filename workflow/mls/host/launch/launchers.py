"""The options by which each MPI's launcher gets its hosts: one small class for each launcher.

This module imports nothing but the standard library, `core` and `config`, as the workflow needs
it before the run environment exists.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Protocol

from mls.config.config import Mpi
from mls.core.errors import UserError


class Launcher(Protocol):
    """The words of a launcher before `-n RANKS`. Its ranks go to the hosts in turn."""

    def hosts(self, hosts: list[str]) -> list[str]: ...

    def hostfile(self, path: str) -> list[str]: ...

    def agent(self, program: str) -> list[str]:
        """Options for `program`, which starts a command on another host and is called as ssh is."""
        ...

    def more(self, first: str) -> list[str]:
        """Further options for several hosts. first: the first host, where the launcher runs."""
        ...


class Mpich:
    """Hydra, the launcher of MPICH and its relatives (Intel MPI, MVAPICH)."""

    def hosts(self, hosts: list[str]) -> list[str]:
        return ["-hosts", ",".join(hosts)]

    def hostfile(self, path: str) -> list[str]:
        return ["-f", path]

    def agent(self, program: str) -> list[str]:
        return ["-launcher", "ssh", "-launcher-exec", program]

    def more(self, first: str) -> list[str]:
        # This host's name for the other hosts
        return ["-localhost", first]


class OpenMpi:
    """PRRTE, the launcher of Open MPI 5."""

    def hosts(self, hosts: list[str]) -> list[str]:
        return ["--host", ",".join(hosts)]

    def hostfile(self, path: str) -> list[str]:
        return ["--hostfile", path]

    def agent(self, program: str) -> list[str]:
        return ["--prtemca", "plm_ssh_agent", program]

    def more(self, first: str) -> list[str]:
        # By default PRRTE fills the first host, and passes few variables on
        return ["--map-by", "node:oversubscribe", "-x", "PATH", "-x", "PYTHONPATH"]


LAUNCHERS: dict[str, Launcher] = {"mpich": Mpich(), "openmpi": OpenMpi()}


def command(mpi: Mpi) -> str:
    """The command line that starts ranks, up to `-n RANKS PROGRAM…`, which the caller appends.

    It is `mpi.launcher` alone unless there are several hosts. Raises `UserError`, see `hosts`.
    """
    names = hosts(mpi)
    if not names:
        return mpi.launcher
    kind = LAUNCHERS[mpi.family]
    words = kind.more(names[0])
    words += kind.hostfile(mpi.hostfile) if mpi.hostfile else kind.hosts(mpi.hosts)
    if mpi.agent:
        words += kind.agent(mpi.agent)
    return f"{mpi.launcher} {shlex.join(words)}"


def hosts(mpi: Mpi) -> list[str]:
    """The hosts of the ranks in the config's order; empty when this host is the only one.

    Raises `UserError` when the hostfile can't be read or names no host.
    """
    if not mpi.hostfile:
        return mpi.hosts
    try:
        lines = Path(mpi.hostfile).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"mpi.hostfile: {mpi.hostfile} can't be read ({why}).") from None
    words = [line.partition("#")[0].split() for line in lines]
    # MPICH writes `host:2` for two ranks, Open MPI `host slots=2`
    names = [first.partition(":")[0] for first, *_ in filter(None, words)]
    if not names:
        raise UserError(
            f"mpi.hostfile: {mpi.hostfile} names no host; expected one at the start of each line."
        )
    return names
