"""Energy of the CPU packages by RAPL, the kernel's running average power limit counters.

They are in `/sys/class/powercap`. Many hosts let only root read them (CVE-2020-8694), and virtual
machines have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_UJ_PER_J = 1e6


@dataclass
class _Package:
    """One counter in µJ, which begins at 0 again after `most_uj`."""

    path: Path
    most_uj: int
    last_uj: int
    total_uj: int = 0

    def read(self) -> None:
        now = int(self.path.read_text())
        step = now - self.last_uj
        self.total_uj += step if step >= 0 else step + self.most_uj
        self.last_uj = now


class CpuEnergy:
    """The energy of all packages since this object was made."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        try:
            self._packages = [
                _Package(
                    domain / "energy_uj",
                    int((domain / "max_energy_range_uj").read_text()),
                    int((domain / "energy_uj").read_text()),
                )
                # packages only: cores and DRAM (`intel-rapl:0:0`) are parts of one, and `psys` of none
                for domain in sorted(powercap.glob("intel-rapl:*"))
                if domain.name.count(":") == 1
                and (domain / "name").read_text().startswith("package")
            ]
        except (OSError, ValueError):
            self._packages = []

    def joules(self) -> float | None:
        """None where there is no counter, or one that may not be read."""
        try:
            for package in self._packages:
                package.read()
        except (OSError, ValueError):
            self._packages = []
        if not self._packages:
            return None
        return sum(package.total_uj for package in self._packages) / _UJ_PER_J
