"""The same work on many items, spread over the cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from mls.core.arrow import without_pandas
from mls.core.errors import UserError
from mls.host.machine import usable_cores
from mls.host.processes.lifetime import die_with_parent

LEAST_EACH = 16
"""The least number of items for a process. Its start takes about a second."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_cores(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The results of `work` on each item, in the order of the items.

    Few items are worked on in this process. For many, `work`, items and results must be picklable.
    Raises what `work` raises, and `UserError` when a process was killed.
    """
    processes = min(usable_cores(), len(items) // LEAST_EACH)
    if processes < 2:
        return [work(item) for item in items]
    chunk = max(1, len(items) // (4 * processes))
    # Spawned, as a fork of a process with threads may hang. Tied to this process, as a worker waits
    # for ever for its next item.
    workers = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin)
    try:
        with workers:
            return list(workers.map(work, items, chunksize=chunk))
    except BrokenProcessPool:
        raise UserError(
            "A process that read results was killed, most likely for want of memory: "
            "free some and run it again."
        ) from None


def _begin() -> None:
    die_with_parent()
    without_pandas()
