"""Running an engine under NVIDIA Nsight Systems."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from mls.model.server import Server


@dataclass(frozen=True)
class Profiler:
    """argv: what to put before the engine's command line; empty when nothing is profiled.
    said: where the profile goes, or why there is none; None when none was asked for."""

    argv: list[str]
    said: str | None

    @property
    def runs(self) -> bool:
        return bool(self.argv)


def profiler(server: Server, log: Path) -> Profiler:
    """The profiler that `server.profile` asks for. The profile goes beside the log."""
    if server.profile == "off":
        return Profiler([], None)
    nsys = shutil.which("nsys")
    if nsys is None:
        return Profiler([], "skipped: nsys (NVIDIA Nsight Systems) was not found on PATH")
    output = log.with_name(f"{log.name}.nsys-rep")
    # no sampling of CPU call stacks: it needs rights, and costs more than all the rest
    options = ["--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none", "--force-overwrite=true"]
    return Profiler([nsys, "profile", *options, "--output", str(output)], str(output))
