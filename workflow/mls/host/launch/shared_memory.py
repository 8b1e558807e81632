"""The file system in which ranks of one host share memory: with too little of it, MPI dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from mls.core.units import MIB
from mls.host.stderr import tell

SHARED_MEMORY = Path("/dev/shm")
# Measured with MPICH 5.0 and Open MPI 5.0, 2 to 12 ranks: MPICH takes 5.2 MiB a rank. With less
# than 1 MiB it ends by SIGBUS, in between sometimes by SIGSEGV. Open MPI needs 17 MiB free.
_MPICH_A_RANK = 5.5 * MIB
_OPEN_MPI = 18 * MIB
_MESSAGE_GRACE_S = 5
# The launchers' variables: the number of ranks on this host, and this rank's number among them.
_HYDRA = ("MPI_LOCALNRANKS", "MPI_LOCALRANKID")
_PRTE = ("OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")


def lack_of_shared_memory(library: str, ranks: int, folder: Path = SHARED_MEMORY) -> str | None:
    """One sentence when the file system is too small for the ranks of one host; else None.

    library: name and version by MPI. For another library, and without such a folder, the result is
    None. The size counts, not the free space, so that all ranks come to one result.
    """
    mpich = library.startswith("MPICH")
    if not mpich and (ranks == 1 or not library.startswith("Open MPI")):
        return None
    try:
        state = os.statvfs(folder)
    except OSError:
        return None
    name = "MPICH" if mpich else "Open MPI"
    if state.f_flag & os.ST_RDONLY:
        if not mpich:  # Open MPI takes TMPDIR then
            return None
        return (
            f"{folder} is read-only, and {name}'s ranks share memory there: make it writable "
            f"(`mount -o remount,rw {folder}`; a container's comes with its own)."
        )
    size = state.f_blocks * state.f_frsize
    needed = ranks * _MPICH_A_RANK if mpich else _OPEN_MPI
    if size == 0 or size >= needed:  # 0 stands for no limit
        return None
    mib = -(-int(needed) // MIB)
    fewer = ", or use fewer ranks" if ranks > 1 else ""
    return (
        f"{folder} has {_text(size)}, and {ranks} {'ranks' if ranks > 1 else 'rank'} of {name} on "
        f"one host {'need' if ranks > 1 else 'needs'} {mib} MiB there: make it larger "
        f"(`mount -o remount,size={mib}M {folder}`; for a container `--shm-size={mib}m`){fewer}."
    )


def end_without_shared_memory(environ: Mapping[str, str] = os.environ) -> None:
    """End this rank with status 1 where MPI would die; the host's first rank prints the sentence.

    Call it before MPI is initialized. It does nothing without variables of MPICH's or Open MPI's
    launcher.
    """
    for library, (size, rank) in {"MPICH": _HYDRA, "Open MPI": _PRTE}.items():
        if environ.get(size, "").isdecimal():
            if lack := lack_of_shared_memory(library, int(environ[size])):
                if environ.get(rank) == "0":
                    tell(f"mls run: {lack}")
                else:  # The first exit ends all ranks: let the first rank print its message before
                    time.sleep(_MESSAGE_GRACE_S)
                sys.exit(1)
            return


def _text(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // 1024} KiB"
