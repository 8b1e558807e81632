"""Which of some processes live on. One that nobody has reaped yet does not."""

import time
from collections.abc import Iterable

import psutil


def living(processes: Iterable[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Those that have not ended within that time.

    Not psutil's wait_procs: it waits until an orphan is reaped, and the first process of a
    container may be in no hurry with that.
    """
    until = time.monotonic() + within_s
    alive = list(processes)
    while alive := [process for process in alive if _lives(process)]:
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    return alive


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
