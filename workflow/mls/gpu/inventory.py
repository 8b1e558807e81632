"""Which GPUs, driver and CUDA a host has, by NVML."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from mls.core.units import MIB

_Answer = TypeVar("_Answer")


def describe() -> dict[str, Any]:
    """`{devices, driver, cuda, reason}`: devices is null when there are none, and reason says why.

    `cuda` is the newest version that the driver supports. Memory in MiB, power in W.
    """
    try:
        import pynvml
    except ImportError:
        return _none("nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return _none(str(error))
    try:
        version = pynvml.nvmlSystemGetCudaDriverVersion_v2()
        count = pynvml.nvmlDeviceGetCount()
        return {
            "devices": [_device(pynvml, index) for index in range(count)] or None,
            "driver": _text(pynvml.nvmlSystemGetDriverVersion()),
            "cuda": f"{version // 1000}.{version % 1000 // 10}",
            "reason": None if count else "the driver lists no device",
        }
    except pynvml.NVMLError as error:
        return _none(str(error))
    finally:
        pynvml.nvmlShutdown()


def visible_cards() -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` may be set to for a process that is to have one card: one for each.

    Those of that variable, where it is set (a batch system does that); else all of the host, by UUID,
    as CUDA and NVML count them in different orders. None without a driver.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [word.strip() for word in given.split(",") if word.strip()]
    return _by_nvml(
        lambda nvml: [
            _text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index)))
            for index in range(nvml.nvmlDeviceGetCount())
        ],
        [],
    )


def index_on_host(pci_bus_id: str) -> int | None:
    """The number that telemetry has a card under, which CUDA may count otherwise; None: not told.

    With `CUDA_VISIBLE_DEVICES=1` CUDA's card 0 is the host's card 1.
    """
    return _by_nvml(
        lambda nvml: int(
            nvml.nvmlDeviceGetIndex(nvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id.encode()))
        ),
        None,
    )


def _by_nvml(ask: Callable[[Any], _Answer], otherwise: _Answer) -> _Answer:
    """What NVML answers; `otherwise` where there is no NVML, no driver, or no answer."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return otherwise
    except pynvml.NVMLError:
        return otherwise
    try:
        return ask(pynvml)
    except pynvml.NVMLError:
        return otherwise
    finally:
        pynvml.nvmlShutdown()


def _device(nvml: Any, index: int) -> dict[str, Any]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return {
        "name": _text(nvml.nvmlDeviceGetName(handle)),
        "memory_mib": nvml.nvmlDeviceGetMemoryInfo(handle).total // MIB,
        "power_limit_w": _optional(
            nvml, lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3
        ),
        "max_sm_mhz": _optional(
            nvml, lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
        ),
        "persistence": _optional(nvml, lambda: bool(nvml.nvmlDeviceGetPersistenceMode(handle))),
    }


def _optional(nvml: Any, read: Any) -> Any:
    """A value that not every device has."""
    try:
        return read()
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _none(reason: str) -> dict[str, Any]:
    return {"devices": None, "driver": None, "cuda": None, "reason": reason}
