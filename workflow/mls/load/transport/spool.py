"""A spool for complete exchanges, so that a rank's memory doesn't grow with the length of its run.

A whole reply in memory takes some 0.7 kB a token. Above 256 MiB the oldest replies move to an
unnamed file in `TMPDIR`, which the kernel frees however the process ends. A separate thread writes
the file: on the loop, a slow disk would delay the next requests (measured: 9 ms at p99 with 256 in
flight). Arrival times don't depend on the disk.
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


class ExchangeSpool:
    """Complete exchanges. Adding is cheap. Iteration, after the last addition, is by job."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """most_bytes: the most bytes of replies in memory."""
        self._most_bytes = most_bytes
        self._in_memory: deque[Exchange] = deque()
        self._bytes = 0
        self._file: _File | None = None

    def add(self, exchange: Exchange) -> None:
        self._in_memory.append(exchange)
        self._bytes += _cost(exchange)
        while self._bytes > self._most_bytes:
            self._move_out(self._in_memory.popleft())

    def _move_out(self, exchange: Exchange) -> None:
        self._bytes -= _cost(exchange)
        if self._file is None:
            self._file = _File()
        self._file.add(exchange.job, marshal.dumps(_fields(exchange), _PLAIN))

    def __len__(self) -> int:
        return len(self._in_memory) + (len(self._file.jobs()) if self._file else 0)

    def __iter__(self) -> Iterator[Exchange]:
        """The exchanges in the order of jobs: originals from memory, copies from the file."""
        by_job = {exchange.job: exchange for exchange in self._in_memory}
        file_jobs = self._file.jobs() if self._file else []
        places = [*((job, -1) for job in by_job), *((job, i) for i, job in enumerate(file_jobs))]
        for job, index in sorted(places):
            if index < 0:
                yield by_job[job]
            else:
                assert self._file is not None
                yield _unpack(self._file.read(index))

    def close(self) -> None:
        """Forget all exchanges."""
        self._in_memory.clear()
        if self._file is not None:
            self._file.close()
            self._file = None


def _cost(exchange: Exchange) -> int:
    return exchange.size + _READ_BYTES * len(exchange.reads or exchange.read_ns)


def _unpack(data: bytes) -> Exchange:
    exchange = Exchange.__new__(Exchange)
    for name, value in zip(Exchange.__slots__, marshal.loads(data), strict=True):
        setattr(exchange, name, value)
    return exchange


class _File:
    """Packed exchanges on disk. Those for which the disk has no room stay in memory."""

    def __init__(self) -> None:
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._jobs = array("q")
        self._sizes = array("q")
        self._places: list[int] | None = None
        self._overflow: list[bytes] = []  # from the first exchange that could not be written on
        self._on_disk = 0  # number of exchanges
        self._end = 0  # of the file, in bytes
        self._file: int | None = None
        self._batches: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="spool", daemon=True)
        self._thread.start()

    def add(self, job: int, data: bytes) -> None:
        self._jobs.append(job)
        self._sizes.append(len(data))
        self._batch.append(data)
        self._batch_bytes += len(data)
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) == _BATCH:
            self._batches.put(self._batch)
            self._batch, self._batch_bytes = [], 0

    def jobs(self) -> array[int]:
        """The jobs, by the index for `read`. Waits until all is written; `add` is over then."""
        if self._places is None:
            self._batches.put(self._batch)
            self._batches.put(None)
            self._thread.join()
            self._places, at = [], 0
            for size in self._sizes[: self._on_disk]:
                self._places.append(at)
                at += size
        return self._jobs

    def read(self, index: int) -> bytes:
        assert self._places is not None
        if index >= self._on_disk:
            return self._overflow[index - self._on_disk]
        assert self._file is not None
        return os.pread(self._file, self._sizes[index], self._places[index])

    def close(self) -> None:
        self.jobs()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write_all(self) -> None:
        while (batch := self._batches.get()) is not None:
            if self._overflow or not self._write(batch):
                self._overflow += batch
            else:
                self._on_disk += len(batch)

    def _write(self, batch: list[bytes]) -> bool:
        try:
            if self._file is None:
                with tempfile.TemporaryFile() as file:
                    self._file = os.dup(file.fileno())
            count = os.pwritev(self._file, batch, self._end)
        except OSError:
            return False
        self._end += count
        return count == sum(map(len, batch))
