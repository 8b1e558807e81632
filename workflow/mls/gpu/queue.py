"""A queue of replies for post-processing on a card, beside the load.

`submit` and `poll`, which are called under load, never wait for the card: they start work, and
take the results of work that is over.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal

from mls.core.errors import UserError
from mls.gpu.device import Card, CardError, NoCardError, PostResult, card_of, cupy
from mls.gpu.kernel import reference

PostMode = Literal["off", "on", "auto"]

_LOOK_EVERY_S = 50e-6
_DRAIN_LIMIT_S = 60
_SAMPLE = bytes(range(256)) * 17 + b"mls"
"""Data of the kernel's trial before anything is measured: all byte values, and no round length."""


class PostQueue:
    """One rank's replies that wait for its card or are on it, and the results of all others."""

    def __init__(self, card: Card, work: int) -> None:
        """work: steps for each byte. Tries the card first.

        Raises `UserError` when the card fails, and when its checksum isn't the reference's.
        """
        self._card = card
        self._work = work
        self._free = deque(range(card.slots))
        self._backlog: deque[tuple[int, memoryview, int]] = deque()
        self._launches: deque[tuple[int, int]] = deque()  # (job, slot), in the order of the stream
        self._first: tuple[int, bytes] | None = None
        self.results: dict[int, PostResult] = {}
        self.failure: str | None = None
        """Why the card failed; later replies are not processed. None: it has not failed."""
        self._try_card()

    def submit(self, job: int, pieces: Iterable[bytes]) -> None:
        """Add a complete reply, as its pieces in order. Returns at once."""
        data = b"".join(pieces)
        if not data or self.failure:
            return
        if self._first is None:
            self._first = (job, data)
        view = memoryview(data)
        for first in range(0, len(data), self._card.slot_bytes):
            self._backlog.append((job, view[first : first + self._card.slot_bytes], first))
        self.poll()

    def poll(self) -> None:
        """Take the results that are ready and start what waits. Returns at once, never raises."""
        if not self._launches and not self._backlog:
            return
        try:
            while self._launches and self._card.is_complete(self._launches[0][1]):
                self._take_out(*self._launches.popleft())
            while self._backlog and self._free:
                job, data, first = self._backlog.popleft()
                slot = self._free.popleft()
                self._card.start(slot, data, first)
                self._launches.append((job, slot))
        except CardError as error:
            self.failure = str(error)
            self._backlog.clear()
            self._launches.clear()

    def drain(self) -> None:
        """Wait until all work is done, at most 60 s. Not under load."""
        limit = time.monotonic() + _DRAIN_LIMIT_S
        while self._launches or self._backlog:
            self.poll()
            if time.monotonic() > limit:
                self.failure = f"its work was not done {_DRAIN_LIMIT_S} s after the load's end"
                return
            time.sleep(_LOOK_EVERY_S)

    def forget(self) -> None:
        """Wait for all work and drop the results, those of the warm-up. Not under load."""
        self.drain()
        self.results.clear()
        self._first = None

    def wrong_job(self) -> int | None:
        """The job of the first reply when its checksum isn't the reference's, else None.

        Not under load: it computes the reference.
        """
        if self._first is None or self._first[0] not in self.results:
            return None
        job, data = self._first
        return None if self.results[job].checksum == reference(data, self._work) else job

    def close(self) -> None:
        """Free the card's memory."""
        self._card.close()

    def _take_out(self, job: int, slot: int) -> None:
        piece = self._card.result(slot)
        self._free.append(slot)
        self.results[job] = self.results.get(job, PostResult()) + piece

    def _try_card(self) -> None:
        self.submit(-1, [_SAMPLE])
        self.drain()
        if self.failure:
            raise UserError(
                f"run.cuda_post: card {self._card.index} ({self._card.name}) failed: "
                f"{self.failure}."
            )
        card_sum, reference_sum = self.results[-1].checksum, reference(_SAMPLE, self._work)
        if card_sum != reference_sum:
            raise UserError(
                f"run.cuda_post: card {self._card.index} ({self._card.name}) computes wrongly: "
                f"its checksum is {card_sum:#x}, the reference's {reference_sum:#x}; "
                "don't trust this card."
            )
        self.forget()


def open_queue(
    mode: PostMode, *, work: int, memory_mib: int, local_rank: int
) -> tuple[PostQueue | None, dict[str, Any]]:
    """(the queue, its record `{card, name, reason}`) of a worker rank.

    There is no queue (None) with `off`. With `auto` there is none where no card can be used, and
    `reason` says why. work: steps for each byte. local_rank: the worker's number among those of its
    host. Raises `UserError` with `on` and no usable card, and when a card computes wrongly.
    """
    if mode == "off":
        return None, {"card": None, "name": None, "reason": None}
    try:
        module = cupy()
        from mls.gpu.cupy_device import CupyCard

        index = card_of(local_rank, module.cuda.runtime.getDeviceCount())
        card = CupyCard(module, index, memory_mib, work)
    except (NoCardError, CardError) as error:
        if mode == "on":
            raise UserError(
                f"run.cuda_post: on, but there is no usable card: {error}; "
                "set it to auto or off, or use a host with a card."
            ) from None
        return None, {"card": None, "name": None, "reason": str(error)}
    return PostQueue(card, work), {"card": card.index, "name": card.name, "reason": None}
