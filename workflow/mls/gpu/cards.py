"""Is there a card that this process can compute on; if not, why not."""

from __future__ import annotations

import ctypes
from importlib import import_module
from typing import Any


class NoCardError(Exception):
    """Why no card can be used, in a few words."""


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
