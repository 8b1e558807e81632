"""A card that this process can compute on: what it does, whether there is one, and if not, why."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol


class NoCardError(Exception):
    """Why no card can be used, in a few words."""


class CardError(Exception):
    """What a card, or CUDA, said was wrong."""


@dataclass(frozen=True, slots=True)
class Processed:
    """Result of a reply, or of a piece of one. Times in ms by CUDA events."""

    checksum: int = 0
    total_ms: float = 0.0
    """From before the copy to the device to after the copy of the checksum back."""
    copy_ms: float = 0.0
    kernel_ms: float = 0.0

    def __add__(self, other: Processed) -> Processed:
        """Of two pieces of one reply."""
        return Processed(
            (self.checksum + other.checksum) % 2**64,
            self.total_ms + other.total_ms,
            self.copy_ms + other.copy_ms,
            self.kernel_ms + other.kernel_ms,
        )


class Card(Protocol):
    """Where the work is done: so many slots, each for one piece at a time, done in order."""

    slots: int
    slot_bytes: int
    index: int
    name: str

    def start(self, slot: int, data: memoryview, first: int) -> None: ...

    def done(self, slot: int) -> bool: ...

    def result(self, slot: int) -> Processed: ...

    def close(self) -> None: ...


def cupy() -> Any:
    """The module CuPy, with at least one usable card behind it. Raises `NoCardError`."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoCardError("no CUDA driver (libcuda.so.1 is not there)") from None
    try:
        module = import_module("cupy")
    except ImportError as error:
        if error.name == "cupy":
            raise NoCardError("cupy is not installed") from None
        raise NoCardError(f"cupy can't be imported ({_first_line(error)})") from None
    try:
        count = module.cuda.runtime.getDeviceCount()
    except RuntimeError as error:
        raise NoCardError(f"CUDA lists no card ({_first_line(error)})") from None
    if not count:
        raise NoCardError("CUDA lists no card")
    return module


def card_of(local_rank: int, cards: int) -> int:
    """Index of the card of a worker rank: the ranks of a host go round its cards."""
    return local_rank % cards


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
