"""Commands of `make test-engines`: each ends with it, in time, with its words in a log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from tests.engines.environments import MissingError

from mls.host.processes.descendants import end_tree
from mls.host.processes.lifetime import die_with_parent

ROOT = Path(__file__).parents[2]
WITHIN_S = 1800
# an outer `mls serve` is none of the command's business
BY_ITSELF = ("env", "-u", "MLS_SERVER", "-u", "MLS_SERVER_PID", "-u", "MLS_ENGINE",
             "-u", "MLS_SERVE_PID", "-u", "MLS_TELEMETRY", "-u", "MLS_PINNED")  # fmt: skip
_END_GRACE_S = 30


def mls(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mls", *arguments]


def write(path: Path, config: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def execute(command: list[str], log: Path) -> None:
    """Run a command until it ends; it ends with this process. Raises `MissingError` if it fails."""
    parent = os.getpid()
    path = os.pathsep.join(filter(None, [str(ROOT / "workflow"), os.environ.get("PYTHONPATH")]))
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent),
        )
        try:
            status = process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            raise MissingError(f"it took more than {WITHIN_S} s; see {log}") from None
        finally:
            end_tree(process.pid, _END_GRACE_S)
            process.wait()
    if status:
        raise MissingError(f"{' '.join(command[1:4])} ended with exit status {status}; see {log}")
