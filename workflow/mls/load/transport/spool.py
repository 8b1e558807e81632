"""Exchanges that are over, kept so that a rank's memory doesn't grow with the length of its run.

Whole replies in memory cost a rank some 0.7 kB a token. What exceeds 256 MiB of them goes, oldest
first, into a file without a name (in `TMPDIR`): whatever ends the process, the kernel frees it.
A thread of its own writes it. On the loop, a disk that takes its time would hold up the next
requests (seen: 9 ms at p99 with 256 in flight); arrival times don't depend on that.
"""

from __future__ import annotations

import marshal
import os
import queue
import tempfile
import threading
from array import array
from collections import deque
from collections.abc import Iterator
from operator import attrgetter

from mls.core.units import MIB
from mls.load.transport.exchange import Exchange

MOST_BYTES = 256 * MIB
_READ_BYTES = 250  # of memory for each read, beside the bytes that it brought
_BATCH_BYTES = 256 * 2**10
_BATCH = 512  # of exchanges; pwritev(2) takes 1,024 pieces at most
_PLAIN = 2  # marshal's format without references: faster, and nothing here occurs twice
_fields = attrgetter(*Exchange.__slots__)


class Finished:
    """Adding is cheap; iterating goes by job, once there is nothing more to add."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """most_bytes: of replies in memory."""
        self._most_bytes = most_bytes
        self._held: deque[Exchange] = deque()
        self._bytes = 0
        self._file: _File | None = None

    def add(self, exchange: Exchange) -> None:
        self._held.append(exchange)
        self._bytes += _cost(exchange)
        while self._bytes > self._most_bytes:
            self._put_away(self._held.popleft())

    def _put_away(self, exchange: Exchange) -> None:
        self._bytes -= _cost(exchange)
        if self._file is None:
            self._file = _File()
        self._file.add(exchange.job, marshal.dumps(_fields(exchange), _PLAIN))

    def __len__(self) -> int:
        return len(self._held) + (len(self._file.jobs()) if self._file else 0)

    def __iter__(self) -> Iterator[Exchange]:
        """In the order of jobs, one at a time; what is in memory, itself."""
        held = {exchange.job: exchange for exchange in self._held}
        put_away = self._file.jobs() if self._file else []
        places = [*((job, -1) for job in held), *((job, i) for i, job in enumerate(put_away))]
        for job, index in sorted(places):
            if index < 0:
                yield held[job]
            else:
                assert self._file is not None
                yield _unpacked(self._file.read(index))

    def close(self) -> None:
        """Forget all of them."""
        self._held.clear()
        if self._file is not None:
            self._file.close()
            self._file = None


def _cost(exchange: Exchange) -> int:
    return exchange.size + _READ_BYTES * len(exchange.reads or exchange.read_ns)


def _unpacked(packed: bytes) -> Exchange:
    exchange = Exchange.__new__(Exchange)
    for name, value in zip(Exchange.__slots__, marshal.loads(packed), strict=True):
        setattr(exchange, name, value)
    return exchange


class _File:
    """Packed exchanges on disk; in memory those that the disk had no room for."""

    def __init__(self) -> None:
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._jobs = array("q")
        self._sizes = array("q")
        self._places: list[int] | None = None
        self._kept: list[bytes] = []  # those from the first that could not be written on
        self._written = 0  # exchanges
        self._end = 0  # of the file, in bytes
        self._file: int | None = None
        self._batches: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="finished", daemon=True)
        self._thread.start()

    def add(self, job: int, packed: bytes) -> None:
        self._jobs.append(job)
        self._sizes.append(len(packed))
        self._batch.append(packed)
        self._batch_bytes += len(packed)
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) == _BATCH:
            self._batches.put(self._batch)
            self._batch, self._batch_bytes = [], 0

    def jobs(self) -> array[int]:
        """By the index that `read` takes. Waits until all is written; then nothing can be added."""
        if self._places is None:
            self._batches.put(self._batch)
            self._batches.put(None)
            self._thread.join()
            self._places, at = [], 0
            for size in self._sizes[: self._written]:
                self._places.append(at)
                at += size
        return self._jobs

    def read(self, index: int) -> bytes:
        assert self._places is not None
        if index >= self._written:
            return self._kept[index - self._written]
        assert self._file is not None
        return os.pread(self._file, self._sizes[index], self._places[index])

    def close(self) -> None:
        self.jobs()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write_all(self) -> None:
        while (batch := self._batches.get()) is not None:
            if self._kept or not self._write(batch):
                self._kept += batch
            else:
                self._written += len(batch)

    def _write(self, batch: list[bytes]) -> bool:
        try:
            if self._file is None:
                with tempfile.TemporaryFile() as file:
                    self._file = os.dup(file.fileno())
            written = os.pwritev(self._file, batch, self._end)
        except OSError:
            return False
        self._end += written
        return written == sum(map(len, batch))
