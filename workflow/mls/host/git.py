"""The checkout: its commit, and whether anything in it was changed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

_TIMEOUT_S = 30


def describe(root: Path) -> dict[str, Any]:
    """`{commit, dirty, reason}`. Where git fails, the first two are null and reason says why."""
    try:
        top = _git(root, "rev-parse", "--show-toplevel")
        if Path(top).resolve() != root.resolve():
            return _none("not a git checkout of its own")
        return {
            "commit": _git(root, "rev-parse", "HEAD"),
            "dirty": bool(_git(root, "status", "--porcelain")),
            "reason": None,
        }
    except FileNotFoundError:
        return _none("git is not installed")
    except subprocess.TimeoutExpired:
        return _none(f"git didn't answer within {_TIMEOUT_S} s")
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        return _none(lines[0] if lines else f"git ended with status {error.returncode}")


def _git(root: Path, *arguments: str) -> str:
    # --no-optional-locks: looking must not write to the user's index
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    process = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
    )
    return process.stdout.strip()


def _none(reason: str) -> dict[str, Any]:
    return {"commit": None, "dirty": None, "reason": reason}
