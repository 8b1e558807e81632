"""Virtual environments for programs that must not be installed beside the project."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.rig import RigError


def install(folder: Path, *lists: Path) -> str:
    """Make an environment from these lists of pinned packages, unless it is there already.

    Returns the path of its Python. Raises `RigError` with the end of pip's output.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in lists)).hexdigest()
    stamp = folder / "built-from"
    python = str(folder / "bin" / "python")
    if stamp.exists() and stamp.read_text() == digest:
        return python
    print(f"Making the environment {folder} …", flush=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--requirement"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        *([*pip, str(path)] for path in lists),
    ):
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            raise RigError(f"{folder.name} can't be installed: {process.stderr.strip()[-500:]}")
    stamp.write_text(digest)
    return python
