"""The same work on many things, spread over the cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from mls.core.errors import UserError
from mls.host.lifetime import die_with_parent
from mls.host.machine import usable_cores

LEAST_EACH = 16
"""Things for which a process of its own is worth its start, which takes about a second."""

Given = TypeVar("Given")
Made = TypeVar("Made")


def on_cores(work: Callable[[Given], Made], things: Sequence[Given]) -> list[Made]:
    """`work` done on each of the things, in their order; in this process when they are few.

    Else `work`, the things and what is made of them must be picklable. Raises what `work` raises,
    and `UserError` when a process was killed.
    """
    processes = min(usable_cores(), len(things) // LEAST_EACH)
    if processes < 2:
        return [work(thing) for thing in things]
    chunk = max(1, len(things) // (4 * processes))
    # spawned, as a fork of a process that has threads may hang; tied to this one, as it waits forever
    workers = ProcessPoolExecutor(processes, get_context("spawn"), initializer=die_with_parent)
    try:
        with workers:
            return list(workers.map(work, things, chunksize=chunk))
    except BrokenProcessPool:
        raise UserError(
            "A process that read results was killed, most likely for want of memory: "
            "free some and run it again."
        ) from None
