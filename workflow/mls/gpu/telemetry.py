"""Telemetry of the cards, by NVML: one sample has some ten figures of each card."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from mls.core.units import MIB

Sample = tuple[str, str, float]
"""(source, name, value), such as ("gpu0", "power_w", 312.5)."""


class Cards:
    """All cards of the host. There are none without NVML, without a driver and without a card."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml

            self._nvml = pynvml
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
        except ImportError:
            return
        except pynvml.NVMLError:
            return
        self._gaps: set[tuple[int, str]] = set()

    def sample(self, server_pids: Collection[int]) -> Iterator[Sample]:
        """One sample of each card. A figure that a card doesn't have is left out from then on.

        server_pids: the server's processes, whose memory on the card is a figure of its own.
        """
        for index, handle in enumerate(self._handles):
            for name, query in self._figures(handle, server_pids).items():
                if (index, name) in self._gaps:
                    continue
                try:
                    value = query()
                except self._nvml.NVMLError:
                    self._gaps.add((index, name))
                    continue
                if value is not None:
                    yield f"gpu{index}", name, float(value)

    def _figures(
        self, handle: Any, server_pids: Collection[int]
    ) -> dict[str, Callable[[], float | None]]:
        nvml = self._nvml
        return {
            "memory_used_mib": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / MIB,
            "server_memory_mib": lambda: self._memory_of(handle, server_pids),
            "utilization": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            "energy_j": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(
                handle, nvml.NVML_TEMPERATURE_GPU
            ),
            "sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "sm_max_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM),
            "memory_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            # NVML's older name of the function, which every driver has
            "clock_reasons": lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        }

    def _memory_of(self, handle: Any, pids: Collection[int]) -> float | None:
        """Memory of the processes on the card in MiB; None when the driver reports none of them.

        That happens where the driver sees other process ids than this host.
        """
        sizes = [
            process.usedGpuMemory
            for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            if process.pid in pids and process.usedGpuMemory is not None
        ]
        return sum(sizes) / MIB if sizes else None
