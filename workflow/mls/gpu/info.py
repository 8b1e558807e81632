"""Which GPUs, driver and CUDA a host has, by NVML."""

from __future__ import annotations

from typing import Any

MIB = 1024 * 1024


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
