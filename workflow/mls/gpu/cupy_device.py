"""One card through CuPy: a stream of its own, buffers that are there before the load is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mls.core.units import MIB
from mls.gpu.device import CardError, Processed
from mls.gpu.inventory import index_on_host
from mls.gpu.kernel import INCREMENT, LANES, MULTIPLIER, SOURCE, THREADS

SLOT_BYTES = 64 * 1024
_SUM_BYTES = 8
_BLOCKS_PER_SM = 8  # of 256 threads: as many as fit


@dataclass(frozen=True)
class _Slot:
    """Where one piece lies on host and device, and the marks around its work."""

    host: Any
    device: int
    sum_host: Any
    sum_device: int
    events: tuple[Any, Any, Any, Any]  # before the copy, after it, after the kernel, all done


class CupyCard:
    """See `device.Card`. All its work is asynchronous, on a non-blocking stream.

    Memory, on host (pinned) and device alike, is taken at once: as many slots of
    `SLOT_BYTES` as the cap has room for. The CUDA context, which each process has on its card,
    comes on top of it.
    """

    slot_bytes = SLOT_BYTES

    def __init__(self, cupy: Any, index: int, memory_mib: int, work: int) -> None:
        """work: steps a byte. Raises `CardError`."""
        self._cupy = cupy
        self._steps = np.uint32(work // LANES)
        self._device = cupy.cuda.Device(index)
        self.index = index
        self.slots = memory_mib * MIB // (SLOT_BYTES + _SUM_BYTES)
        with self._on_card():
            properties = cupy.cuda.runtime.getDeviceProperties(index)
            self.name = properties["name"].decode()
            on_host = index_on_host(self._device.pci_bus_id)
            self._blocks = properties["multiProcessorCount"] * _BLOCKS_PER_SM
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._kernel = cupy.RawKernel(SOURCE, "post")
            self._kernel.compile()
            size = self.slots * (SLOT_BYTES + _SUM_BYTES)
            self._on_device = cupy.cuda.alloc(size)
            self._on_host = cupy.cuda.alloc_pinned_memory(size)
            self._slots = [self._slot(number) for number in range(self.slots)]
        self.index = index if on_host is None else on_host

    def start(self, slot: int, data: memoryview, first: int) -> None:
        """Begin the work on at most `slot_bytes` bytes. Raises `CardError`."""
        own, size = self._slots[slot], len(data)
        runtime, stream = self._cupy.cuda.runtime, self._stream
        own.host[:size] = np.frombuffer(data, np.uint8)
        own.sum_host[0] = 0
        begin, copied, computed, done = own.events
        with self._on_card(), stream:
            begin.record(stream)
            runtime.memcpyAsync(
                own.device, own.host.ctypes.data, size, runtime.memcpyHostToDevice, stream.ptr
            )
            runtime.memsetAsync(own.sum_device, 0, _SUM_BYTES, stream.ptr)
            copied.record(stream)
            blocks = min(-(-size * LANES // THREADS), self._blocks)
            self._kernel((blocks,), (THREADS,), (
                own.device, np.uint32(size), np.uint32(first % 2**32), self._steps,
                np.uint32(MULTIPLIER), np.uint32(INCREMENT), own.sum_device,
            ))  # fmt: skip
            computed.record(stream)
            runtime.memcpyAsync(
                own.sum_host.ctypes.data, own.sum_device, _SUM_BYTES,
                runtime.memcpyDeviceToHost, stream.ptr,
            )  # fmt: skip
            done.record(stream)

    def done(self, slot: int) -> bool:
        """Whether its work is over; never waits. Raises `CardError`."""
        with self._on_card():
            return bool(self._slots[slot].events[3].done)

    def result(self, slot: int) -> Processed:
        """Checksum and times of a slot whose work is over. Raises `CardError`."""
        own = self._slots[slot]
        begin, copied, computed, done = own.events
        between = self._cupy.cuda.get_elapsed_time
        with self._on_card():
            return Processed(
                checksum=int(own.sum_host[0]),
                total_ms=between(begin, done),
                copy_ms=between(begin, copied),
                kernel_ms=between(copied, computed),
            )

    def close(self) -> None:
        """Give all memory back to the card and to the host."""
        with contextlib.suppress(CardError), self._on_card():
            self._stream.synchronize()
            self._slots = []
            del self._on_device, self._on_host
            self._cupy.get_default_memory_pool().free_all_blocks()
            self._cupy.get_default_pinned_memory_pool().free_all_blocks()

    def _slot(self, number: int) -> _Slot:
        host = np.frombuffer(self._on_host, np.uint8, self.slots * (SLOT_BYTES + _SUM_BYTES))
        at, sum_at = number * SLOT_BYTES, self.slots * SLOT_BYTES + number * _SUM_BYTES
        return _Slot(
            host=host[at : at + SLOT_BYTES],
            device=self._on_device.ptr + at,
            sum_host=host[sum_at : sum_at + _SUM_BYTES].view(np.uint64),
            sum_device=self._on_device.ptr + sum_at,
            events=tuple(self._cupy.cuda.Event() for _ in range(4)),
        )

    @contextlib.contextmanager
    def _on_card(self) -> Iterator[None]:
        """Within: this card is the current one, and CUDA's errors are `CardError`s."""
        try:
            with self._device:
                yield
        except (RuntimeError, MemoryError, self._cupy.cuda.compiler.CompileException) as error:
            said = str(error).splitlines() or [type(error).__name__]
            raise CardError(said[0]) from None
