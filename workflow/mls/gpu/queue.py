"""Post-processing of replies on a card, beside the load: hand in, look now and then, take out.

Nothing here waits for the card while load is running: `submit` and `poll` only start work and
look whether earlier work is over.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal

from mls.core.errors import UserError
from mls.gpu.device import Card, CardError, NoCardError, Processed, card_of, cupy
from mls.gpu.kernel import reference

Asked = Literal["off", "on", "auto"]

_LOOK_EVERY_S = 50e-6
_DRAIN_LIMIT_S = 60
_SAMPLE = bytes(range(256)) * 17 + b"mls"
"""What the kernel is tried on before anything is measured: all values, a length of no round number."""


class PostQueue:
    """One rank's replies on their way through its card."""

    def __init__(self, card: Card, work: int) -> None:
        """Tries the card. Raises `UserError` when its checksum isn't the reference's."""
        self._card = card
        self._work = work
        self._free = deque(range(card.slots))
        self._waiting: deque[tuple[int, memoryview, int]] = deque()
        self._running: deque[tuple[int, int]] = deque()  # (job, slot), in the order of the stream
        self._first: tuple[int, bytes] | None = None
        self.results: dict[int, Processed] = {}
        self.failed: str | None = None
        """Why the card was given up on; replies after that were not processed."""
        self._try_card()

    def submit(self, job: int, pieces: Iterable[bytes]) -> None:
        """Hand in a complete reply. Returns at once."""
        data = b"".join(pieces)
        if not data or self.failed:
            return
        if self._first is None:
            self._first = (job, data)
        view = memoryview(data)
        for first in range(0, len(data), self._card.slot_bytes):
            self._waiting.append((job, view[first : first + self._card.slot_bytes], first))
        self.poll()

    def poll(self) -> None:
        """Take out what is done, start what waits. Returns at once, and never raises."""
        if not self._running and not self._waiting:
            return
        try:
            while self._running and self._card.done(self._running[0][1]):
                self._take_out(*self._running.popleft())
            while self._waiting and self._free:
                job, data, first = self._waiting.popleft()
                slot = self._free.popleft()
                self._card.start(slot, data, first)
                self._running.append((job, slot))
        except CardError as error:
            self.failed = str(error)
            self._waiting.clear()
            self._running.clear()

    def drain(self) -> None:
        """Wait until all is done; only when no load is running."""
        limit = time.monotonic() + _DRAIN_LIMIT_S
        while self._running or self._waiting:
            self.poll()
            if time.monotonic() > limit:
                self.failed = f"its work was not done {_DRAIN_LIMIT_S} s after the load's end"
                return
            time.sleep(_LOOK_EVERY_S)

    def forget(self) -> None:
        """Drop all results so far: what was processed while warming up."""
        self.drain()
        self.results.clear()
        self._first = None

    def wrong_job(self) -> int | None:
        """The job of the first reply if its checksum isn't the reference's. Not under load."""
        if self._first is None or self._first[0] not in self.results:
            return None
        job, data = self._first
        return None if self.results[job].checksum == reference(data, self._work) else job

    def close(self) -> None:
        """Give the card's memory back."""
        self._card.close()

    def _take_out(self, job: int, slot: int) -> None:
        piece = self._card.result(slot)
        self._free.append(slot)
        self.results[job] = self.results.get(job, Processed()) + piece

    def _try_card(self) -> None:
        self.submit(-1, [_SAMPLE])
        self.drain()
        if self.failed:
            raise UserError(
                f"run.cuda_post: card {self._card.index} ({self._card.name}) failed: {self.failed}."
            )
        found, expected = self.results[-1].checksum, reference(_SAMPLE, self._work)
        if found != expected:
            raise UserError(
                f"run.cuda_post: card {self._card.index} ({self._card.name}) computes wrongly: its "
                f"checksum is {found:#x}, the reference's {expected:#x}; don't trust this card."
            )
        self.forget()


def open_queue(
    asked: Asked, *, work: int, memory_mib: int, local_rank: int
) -> tuple[PostQueue | None, dict[str, Any]]:
    """(the queue, what to record of it: `{card, name, reason}`); no queue with `off`, or with
    `auto` where no card can be used, and then `reason` says why.

    local_rank: this worker's number among those of its host. Raises `UserError` with `on` and
    no usable card, and when a card computes wrongly.
    """
    if asked == "off":
        return None, {"card": None, "name": None, "reason": None}
    try:
        module = cupy()
        from mls.gpu.cupy_device import CupyCard

        index = card_of(local_rank, module.cuda.runtime.getDeviceCount())
        card = CupyCard(module, index, memory_mib, work)
    except (NoCardError, CardError) as error:
        if asked == "on":
            raise UserError(
                f"run.cuda_post: on, but there is no usable card: {error}; "
                "set it to auto or off, or use a host with a card."
            ) from None
        return None, {"card": None, "name": None, "reason": str(error)}
    return PostQueue(card, work), {"card": card.index, "name": card.name, "reason": None}
