"""Where the ranks of one host share memory: an MPI library that finds too little of it just dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from mls.core.units import MIB

SHARED_MEMORY = Path("/dev/shm")
# Measured (MPICH 5.0, Open MPI 5.0; 2 to 12 ranks): MPICH takes 5.2 MiB a rank; with less than 1 it
# ends by SIGBUS, in between sometimes by SIGSEGV. Open MPI takes little, but wants 17 MiB to be free.
_MPICH_A_RANK = 5.5 * MIB
_OPEN_MPI = 18 * MIB
# Of the launchers: how many ranks are on this host, and which of them this is.
_HYDRA = ("MPI_LOCALNRANKS", "MPI_LOCALRANKID")
_PRTE = ("OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")


def lack_of_shared_memory(library: str, ranks: int, folder: Path = SHARED_MEMORY) -> str | None:
    """One sentence when the file system can't hold what ranks of one host need; else None.

    library: name and version, as MPI tells it. Of one that isn't known, or where there is no such
    folder, nothing is said. By its size, not by what is free: all ranks come to one answer.
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
        if not mpich:  # which then takes TMPDIR
            return None
        return (
            f"{folder} is read-only, and {name}'s ranks share memory there: make it writable "
            f"(`mount -o remount,rw {folder}`; a container's comes with its own)."
        )
    size = state.f_blocks * state.f_frsize
    needed = ranks * _MPICH_A_RANK if mpich else _OPEN_MPI
    if size == 0 or size >= needed:  # 0: without a limit
        return None
    mib = -(-int(needed) // MIB)
    fewer = ", or use fewer ranks" if ranks > 1 else ""
    return (
        f"{folder} has {_text(size)}, and {ranks} {'ranks' if ranks > 1 else 'rank'} of {name} on "
        f"one host {'need' if ranks > 1 else 'needs'} {mib} MiB there: make it larger "
        f"(`mount -o remount,size={mib}M {folder}`; for a container `--shm-size={mib}m`){fewer}."
    )


def end_without_shared_memory(environ: Mapping[str, str] = os.environ) -> None:
    """End this rank, with status 1 and one sentence of the host's first, where MPI could only die.

    Call it before MPI is initialized. Without variables of MPICH's or Open MPI's launcher, nothing
    is known and nothing done.
    """
    for library, (size, rank) in {"MPICH": _HYDRA, "Open MPI": _PRTE}.items():
        if environ.get(size, "").isdecimal():
            if lack := lack_of_shared_memory(library, int(environ[size])):
                if environ.get(rank) == "0":
                    print(f"mls run: {lack}", file=sys.stderr, flush=True)
                sys.exit(1)
            return


def _text(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // 1024} KiB"
