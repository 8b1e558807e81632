"""The GPUs of a host, its driver and its CUDA version, by NVML."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from mls.core.units import MIB

_Answer = TypeVar("_Answer")


def describe() -> dict[str, Any]:
    """`{devices, driver, cuda, reason}`. Without a device, `devices` is null and `reason` says why.

    `cuda` is the newest version that the driver supports. Memory is in MiB, power in W.
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
    """The usable cards, each as a `CUDA_VISIBLE_DEVICES` for a process of that card alone.

    Where that variable is set, as a batch system does, its cards are the usable ones. Elsewhere all
    cards of the host are, by UUID, as CUDA and NVML number them in different orders. The list is
    empty without a driver.
    """
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is not None:
        return [word.strip() for word in variable.split(",") if word.strip()]
    return _by_nvml(
        lambda nvml: [
            _text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index)))
            for index in range(nvml.nvmlDeviceGetCount())
        ],
        [],
    )


def index_on_host(pci_bus_id: str) -> int | None:
    """A card's number on the host, which telemetry uses; None when NVML doesn't know the card.

    CUDA may number cards otherwise: with `CUDA_VISIBLE_DEVICES=1` its card 0 is the host's card 1.
    """
    return _by_nvml(
        lambda nvml: int(
            nvml.nvmlDeviceGetIndex(nvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id.encode()))
        ),
        None,
    )


def _by_nvml(ask: Callable[[Any], _Answer], otherwise: _Answer) -> _Answer:
    """The answer of NVML to `ask`; `otherwise` without NVML, without a driver, and on an error."""
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


def _optional(nvml: Any, query: Any) -> Any:
    """The value of `query`; None when the device doesn't have it."""
    try:
        return query()
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _none(reason: str) -> dict[str, Any]:
    return {"devices": None, "driver": None, "cuda": None, "reason": reason}
