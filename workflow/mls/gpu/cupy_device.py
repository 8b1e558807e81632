"""One card through CuPy, with a stream of its own and buffers allocated before the load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mls.core.units import MIB
from mls.gpu.device import CardError, PostResult
from mls.gpu.inventory import index_on_host
from mls.gpu.kernel import INCREMENT, LANES, MULTIPLIER, SOURCE, THREADS

SLOT_BYTES = 64 * 1024
_SUM_BYTES = 8
_BLOCKS_PER_SM = 8  # Of 256 threads each: as many as fit


@dataclass(frozen=True)
class _Slot:
    """The buffers of one piece on host and device, and the CUDA events around its work."""

    host: Any
    device: int
    sum_host: Any
    sum_device: int
    events: tuple[Any, Any, Any, Any]  # before the copy, after it, after the kernel, all done


class CupyCard:
    """A `device.Card`. All its work is asynchronous, on a non-blocking stream.

    The constructor allocates all memory, as much on the host (pinned) as on the device: as many
    slots of `SLOT_BYTES` as `memory_mib` has room for. The CUDA context of the process takes
    further memory of the card.
    """

    slot_bytes = SLOT_BYTES

    def __init__(self, cupy: Any, index: int, memory_mib: int, work: int) -> None:
        """index: the card's number in CUDA. work: steps for each byte. Raises `CardError`."""
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
        place, size = self._slots[slot], len(data)
        runtime, stream = self._cupy.cuda.runtime, self._stream
        place.host[:size] = np.frombuffer(data, np.uint8)
        place.sum_host[0] = 0
        begin, copy_end, kernel_end, end = place.events
        with self._on_card(), stream:
            begin.record(stream)
            runtime.memcpyAsync(
                place.device, place.host.ctypes.data, size, runtime.memcpyHostToDevice, stream.ptr
            )
            runtime.memsetAsync(place.sum_device, 0, _SUM_BYTES, stream.ptr)
            copy_end.record(stream)
            blocks = min(-(-size * LANES // THREADS), self._blocks)
            self._kernel((blocks,), (THREADS,), (
                place.device, np.uint32(size), np.uint32(first % 2**32), self._steps,
                np.uint32(MULTIPLIER), np.uint32(INCREMENT), place.sum_device,
            ))  # fmt: skip
            kernel_end.record(stream)
            runtime.memcpyAsync(
                place.sum_host.ctypes.data, place.sum_device, _SUM_BYTES,
                runtime.memcpyDeviceToHost, stream.ptr,
            )  # fmt: skip
            end.record(stream)

    def is_complete(self, slot: int) -> bool:
        """Whether the work of a slot is over. Returns at once. Raises `CardError`."""
        with self._on_card():
            return bool(self._slots[slot].events[3].done)

    def result(self, slot: int) -> PostResult:
        """Checksum and times of a slot whose work is over. Raises `CardError`."""
        place = self._slots[slot]
        begin, copy_end, kernel_end, end = place.events
        elapsed_ms = self._cupy.cuda.get_elapsed_time
        with self._on_card():
            return PostResult(
                checksum=int(place.sum_host[0]),
                total_ms=elapsed_ms(begin, end),
                copy_ms=elapsed_ms(begin, copy_end),
                kernel_ms=elapsed_ms(copy_end, kernel_end),
            )

    def close(self) -> None:
        """Free all memory on the card and on the host."""
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
        """A context in which this card is the current one and CUDA's errors become `CardError`."""
        try:
            with self._device:
                yield
        except (RuntimeError, MemoryError, self._cupy.cuda.compiler.CompileException) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise CardError(lines[0]) from None
