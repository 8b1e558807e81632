"""Lifetimes of processes: a process ends with its parent, and with all that it started."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
# loaded now: nothing may be imported between fork and exec
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(sig: int = signal.SIGTERM, parent: int | None = None) -> None:
    """Have the kernel send `sig` to this process when its parent ends, however it ends.

    parent: the parent's id, when the caller knows it. When the parent ended before this call, the
    signal is raised at once. Linux only; elsewhere the call does nothing. Raises `OSError`. See
    prctl(2), PR_SET_PDEATHSIG: the "parent" is the *thread* that started this process, and exec
    keeps the setting.
    """
    if _LIBC is None:
        return
    before = os.getppid() if parent is None else parent
    prctl(_PR_SET_PDEATHSIG, int(sig))
    if os.getppid() != before:
        signal.raise_signal(sig)


LAUNCHER_PID = "MLS_LAUNCHER_PID"
"""Environment variable by which the workflow passes the id of the Snakemake that starts a job."""


def die_with_launcher() -> None:
    """End with the parent, as by `die_with_parent`, even if it ended while this program was loaded.

    In that case another process has adopted this one, and `die_with_parent` alone would never end
    it. `LAUNCHER_PID` in the environment identifies the parent.
    """
    die_with_parent()
    die_with_workflow()


def die_with_workflow() -> None:
    """Have this process end with the Snakemake that started it, if one did.

    A process further below that Snakemake ends with its own parent instead.
    """
    launcher = os.environ.get(LAUNCHER_PID, "")
    if not launcher.isdigit():
        return
    if os.getppid() == int(launcher):
        die_with_parent(parent=int(launcher))
    elif not _runs(int(launcher)):
        signal.raise_signal(signal.SIGTERM)


def _runs(pid: int) -> bool:
    import psutil  # Each rank loads this module, and few get here

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def prctl(option: int, value: int) -> None:
    """Call prctl(2); nothing where the system isn't Linux. Raises `OSError`."""
    if _LIBC is not None and _LIBC.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
