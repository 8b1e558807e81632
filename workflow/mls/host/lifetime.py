"""Processes that end when they should: with their parent, and with all that they started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Container, Iterable, Iterator

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_REST_GRACE_S = 2
_KILLED_WITHIN_S = 5
# loaded now: nothing may be imported between fork and exec
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(sig: int = signal.SIGTERM, parent: int | None = None) -> None:
    """Have the kernel send `sig` to this process when its parent ends, however it ends.

    parent: the parent's id, when the caller knows it. A parent that ended before this call can't
    be waited for any more: then the signal is raised at once. Linux only; elsewhere nothing
    happens. Raises `OSError`. See prctl(2), PR_SET_PDEATHSIG: the "parent" is the *thread*
    that started this process, and exec keeps the setting.
    """
    if _LIBC is None:
        return
    before = os.getppid() if parent is None else parent
    _prctl(_PR_SET_PDEATHSIG, int(sig))
    if os.getppid() != before:
        signal.raise_signal(sig)


LAUNCHER_PID = "MLS_LAUNCHER_PID"
"""Set by the workflow: the Snakemake that starts a job."""


def die_with_launcher() -> None:
    """`die_with_parent`, for a parent that may have ended while this program was being loaded.

    Then this process has been adopted by another, and nothing would ever end it: the environment
    tells whose end it has missed.
    """
    die_with_parent()
    die_with_workflow()


def die_with_workflow() -> None:
    """Have this process end with the Snakemake that started it, if one did.

    What is only somewhere below it has a parent of its own to end with.
    """
    launcher = os.environ.get(LAUNCHER_PID, "")
    if not launcher.isdigit():
        return
    if os.getppid() == int(launcher):
        die_with_parent(parent=int(launcher))
    elif not _runs(int(launcher)):
        signal.raise_signal(signal.SIGTERM)


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def adopting_orphans() -> Iterator[None]:
    """Within: descendants whose parent ends become children of this process, not of init.

    So `end_children` finds those as well. Linux only, see PR_SET_CHILD_SUBREAPER.
    """
    if _LIBC is None:
        yield
        return
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(_PR_SET_CHILD_SUBREAPER, 0)


def end_children(keep: Container[int] = (), grace_s: float = 2) -> list[int]:
    """End all trees below this process except those of the ids to keep; return what was killed."""
    children = [child.pid for child in psutil.Process().children() if child.pid not in keep]
    return [pid for child in children for pid in end_tree(child, grace_s)]


def end_tree(pid: int, grace_s: float = 10) -> list[int]:
    """End a process and all that it started; return the ids that had to be killed.

    The process itself is told first, and has `grace_s` to end what it started in its own way
    (mpirun its ranks); what is left then is terminated, and killed two seconds later. Descendants
    are taken by identity, so a reused id is never hit; those of a process that ended before
    this call are out of reach. Of children of this process the exit status is consumed here.
    """
    try:
        root = psutil.Process(pid)
        tree = _with_children([root])
    except psutil.NoSuchProcess:
        return []
    _send([root], signal.SIGTERM)
    psutil.wait_procs([root], timeout=grace_s)
    # what they started meanwhile belongs to the tree as well
    tree = _with_children(tree)
    _send(tree, signal.SIGTERM)
    _, alive = psutil.wait_procs(tree, timeout=_REST_GRACE_S)
    alive = _with_children(alive)
    _send(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=_KILLED_WITHIN_S)
    return [process.pid for process in alive]


def _prctl(option: int, value: int) -> None:
    if _LIBC is not None and _LIBC.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _with_children(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    found: dict[psutil.Process, None] = {}
    for process in processes:
        found[process] = None
        try:
            found.update(dict.fromkeys(process.children(recursive=True)))
        except psutil.NoSuchProcess:
            continue
    return list(found)


def _send(processes: Iterable[psutil.Process], sig: int) -> None:
    for process in processes:
        try:
            process.send_signal(sig)
        except psutil.NoSuchProcess:
            continue
