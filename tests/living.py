"""Which of several processes are still alive. A zombie is not."""

import time
from collections.abc import Iterable

import psutil


def living(processes: Iterable[psutil.Process], within_s: float) -> list[psutil.Process]:
    """The processes that have not ended within that time.

    psutil's wait_procs won't do: it waits until an orphan is reaped, and the first process of a
    container may take long to reap it.
    """
    deadline = time.monotonic() + within_s
    alive = list(processes)
    while alive := [process for process in alive if _lives(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return alive


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
