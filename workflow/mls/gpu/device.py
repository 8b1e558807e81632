"""The card that a process computes on: its protocol, and the search for a usable one."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol


class NoCardError(Exception):
    """No card can be used. The text gives the reason in a few words."""


class CardError(Exception):
    """A card, or CUDA, has failed. The text is the first line of its message."""


@dataclass(frozen=True, slots=True)
class PostResult:
    """Result of post-processing a reply, or a piece of one. Times are in ms, by CUDA events."""

    checksum: int = 0
    total_ms: float = 0.0
    """From before the copy to the device to after the copy of the checksum back."""
    copy_ms: float = 0.0
    kernel_ms: float = 0.0

    def __add__(self, other: PostResult) -> PostResult:
        """The result of two pieces of one reply together."""
        return PostResult(
            (self.checksum + other.checksum) % 2**64,
            self.total_ms + other.total_ms,
            self.copy_ms + other.copy_ms,
            self.kernel_ms + other.kernel_ms,
        )


class Card(Protocol):
    """A card with slots. Each slot holds one piece at a time; pieces are done in order of start."""

    slots: int
    slot_bytes: int
    index: int
    name: str

    def start(self, slot: int, data: memoryview, first: int) -> None: ...

    def is_complete(self, slot: int) -> bool: ...

    def result(self, slot: int) -> PostResult: ...

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
    """Index of the card of a worker rank: the ranks of a host take its cards in turn."""
    return local_rank % cards


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
