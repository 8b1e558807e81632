"""Lifetimes of processes: a process ends with its parent, and with all that it started."""

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
_TERM_GRACE_S = 2
_KILL_WAIT_S = 5
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
    _prctl(_PR_SET_PDEATHSIG, int(sig))
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
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def adopting_orphans() -> Iterator[None]:
    """A context in which orphaned descendants become children of this process, not of init.

    `end_children` then finds them as well. Linux only, see PR_SET_CHILD_SUBREAPER in prctl(2).
    """
    if _LIBC is None:
        yield
        return
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(_PR_SET_CHILD_SUBREAPER, 0)


@contextlib.contextmanager
def ending_descendants() -> Iterator[None]:
    """A context of `adopting_orphans` at whose end all processes end that began below in it."""
    with adopting_orphans():
        earlier = {child.pid for child in psutil.Process().children()}
        try:
            yield
        finally:
            end_children(keep=earlier)


def end_children(keep: Container[int] = (), grace_s: float = 2) -> list[int]:
    """End all trees below this process but those of `keep`; return the ids that were killed.

    Orphans of a tree, which come to this process when the tree ends, end as well.
    """
    ids: list[int] = []
    roots: set[int] = set()
    while children := [
        child.pid
        for child in psutil.Process().children()
        if child.pid not in keep and child.pid not in roots
    ]:
        roots.update(children)
        ids += [pid for child in children for pid in end_tree(child, grace_s)]
    return ids


def end_tree(pid: int, grace_s: float = 10) -> list[int]:
    """End a process and all that it started; return the ids that had to be killed.

    The process itself gets SIGTERM first and has `grace_s` to end what it started in its own way,
    as mpirun ends its ranks. The rest then gets SIGTERM, and SIGKILL two seconds later. Processes
    are identified by id and start time, so a reused id is never hit. Descendants of a process that
    ended before this call are out of reach. The exit status of a child of this process is consumed.
    """
    try:
        root = psutil.Process(pid)
        tree = _with_children([root])
    except psutil.NoSuchProcess:
        return []
    _send([root], signal.SIGTERM)
    psutil.wait_procs([root], timeout=grace_s)
    # Processes that they started meanwhile belong to the tree as well
    tree = _with_children(tree)
    _send(tree, signal.SIGTERM)
    _, alive = psutil.wait_procs(tree, timeout=_TERM_GRACE_S)
    alive = _with_children(alive)
    _send(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=_KILL_WAIT_S)
    return [process.pid for process in alive]


def _prctl(option: int, value: int) -> None:
    if _LIBC is not None and _LIBC.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _with_children(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    tree: dict[psutil.Process, None] = {}
    for process in processes:
        tree[process] = None
        try:
            tree.update(dict.fromkeys(process.children(recursive=True)))
        except psutil.NoSuchProcess:
            continue
    return list(tree)


def _send(processes: Iterable[psutil.Process], sig: int) -> None:
    for process in processes:
        try:
            process.send_signal(sig)
        except psutil.NoSuchProcess:
            continue
