"""Environments of their own for what must not be installed beside the project."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.rig import RigError


def install(folder: Path, *lists: Path) -> str:
    """Make an environment of these pinned lists, unless it is there and made from the same ones.

    Returns the path of its Python. Raises `RigError` with pip's last words.
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
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RigError(f"{folder.name} can't be installed: {done.stderr.strip()[-500:]}")
    stamp.write_text(digest)
    return python
