"""NVIDIA's profilers, which run an engine under them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from mls.config.sections.server import Server

_NAMES = {"nsys": "NVIDIA Nsight Systems", "ncu": "NVIDIA Nsight Compute"}
_OPTIONS = {
    # Sampling of CPU call stacks needs rights, and costs more than all the rest
    "nsys": ["profile", "--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none",
             "--force-overwrite=true", "--output"],
    # ncu runs each kernel about ten times, at two kernels a second: hence only some of them, after
    # the model is loaded and warm. Its default sets the card's clocks, and a kill leaves them so.
    "ncu": ["--launch-skip=20000", "--launch-count=100", "--clock-control=none",
            "--force-overwrite", "--export"],
}  # fmt: skip


@dataclass(frozen=True)
class Profiler:
    """argv: the part before the engine's command line; empty without a profiler.

    note: the profile's path, or why there is none; None without `server.profile`.
    """

    argv: list[str]
    note: str | None

    @property
    def runs(self) -> bool:
        return bool(self.argv)

    def problem(self) -> str | None:
        """After the engine's end: one sentence when the profile is missing, else None."""
        if not self.runs:
            return None
        output = Path(self.argv[-1])
        raw = output.with_suffix(".qdstrm")
        if output.exists():
            return None
        if raw.exists():  # An nsys without its importer, as the package of ncu has it
            return f"nsys could not convert its profile: open {raw} with a whole Nsight Systems"
        return f"{output} was not written; the server's log may say why"


def profiler(server: Server, log: Path) -> Profiler:
    """The profiler that `server.profile` asks for. The profile goes beside the log."""
    name = server.profile
    if name == "off":
        return Profiler([], None)
    program = shutil.which(name)
    if program is None:
        return Profiler([], f"skipped: {name} ({_NAMES[name]}) was not found on PATH")
    output = str(log.with_name(f"{log.name}.{name}-rep"))
    return Profiler([program, *_OPTIONS[name], output], output)
