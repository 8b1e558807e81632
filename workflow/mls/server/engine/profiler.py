"""Running an engine under one of NVIDIA's profilers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from mls.config.sections.server import Server

_NAMES = {"nsys": "NVIDIA Nsight Systems", "ncu": "NVIDIA Nsight Compute"}
_OPTIONS = {
    # no sampling of CPU call stacks: it needs rights, and costs more than all the rest
    "nsys": ["profile", "--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none",
             "--force-overwrite=true", "--output"],
    # each kernel is run some ten times over, two a second: some of them, from when the model is
    # loaded and warm; with its default it would set the card's clocks, and leave them when killed
    "ncu": ["--launch-skip=20000", "--launch-count=100", "--clock-control=none",
            "--force-overwrite", "--export"],
}  # fmt: skip


@dataclass(frozen=True)
class Profiler:
    """argv: what to put before the engine's command line; empty when nothing is profiled.
    said: where the profile goes, or why there is none; None when none was asked for."""

    argv: list[str]
    said: str | None

    @property
    def runs(self) -> bool:
        return bool(self.argv)

    def lost(self) -> str | None:
        """Once it has ended: one sentence if the profile isn't where it was to be, else None."""
        if not self.runs:
            return None
        output = Path(self.argv[-1])
        raw = output.with_suffix(".qdstrm")
        if output.exists():
            return None
        if raw.exists():  # an nsys installed without its importer, as beside ncu
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
