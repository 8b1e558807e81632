"""The processes below this one: orphans adopted, trees ended."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Container, Iterable, Iterator

import psutil

from mls.host.processes.lifetime import prctl

_PR_SET_CHILD_SUBREAPER = 36
_TERM_GRACE_S = 2
_KILL_WAIT_S = 5


@contextlib.contextmanager
def adopting_orphans() -> Iterator[None]:
    """A context in which orphaned descendants become children of this process, not of init.

    `end_children` then finds them as well. Linux only, see PR_SET_CHILD_SUBREAPER in prctl(2).
    """
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0)


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
