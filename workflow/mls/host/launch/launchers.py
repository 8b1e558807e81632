"""How each MPI's launcher is told which hosts to use: one small class for each.

Reads the config alone and imports nothing but the standard library and `model`: the workflow
needs it before the run environment exists.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Protocol

from mls.config.config import Mpi
from mls.core.errors import UserError


class Launcher(Protocol):
    """Words that a launcher takes before `-n RANKS`. Ranks are dealt out to the hosts in turn."""

    def hosts(self, hosts: list[str]) -> list[str]: ...

    def hostfile(self, path: str) -> list[str]: ...

    def agent(self, program: str) -> list[str]:
        """What starts a command on another host, called as ssh is."""
        ...

    def more(self, first: str) -> list[str]:
        """Whatever else several hosts need. first: the first host, where the launcher runs."""
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
        # what the other hosts call this one by
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
        # it fills the first host otherwise, and passes hardly a variable on
        return ["--map-by", "node:oversubscribe", "-x", "PATH", "-x", "PYTHONPATH"]


LAUNCHERS: dict[str, Launcher] = {"mpich": Mpich(), "openmpi": OpenMpi()}


def command(mpi: Mpi) -> str:
    """The command line that starts ranks; `-n RANKS PROGRAM…` is to be appended.

    It is `mpi.launcher` itself unless there are several hosts. Raises `UserError`, see `hosts`.
    """
    named = hosts(mpi)
    if not named:
        return mpi.launcher
    kind = LAUNCHERS[mpi.family]
    words = kind.more(named[0])
    words += kind.hostfile(mpi.hostfile) if mpi.hostfile else kind.hosts(mpi.hosts)
    if mpi.agent:
        words += kind.agent(mpi.agent)
    return f"{mpi.launcher} {shlex.join(words)}"


def hosts(mpi: Mpi) -> list[str]:
    """The hosts of the ranks, the first first; empty: this one only.

    Raises `UserError` when the hostfile can't be read or names none.
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
    named = [first.partition(":")[0] for first, *_ in filter(None, words)]
    if not named:
        raise UserError(
            f"mpi.hostfile: {mpi.hostfile} names no host; expected one at the start of each line."
        )
    return named
