"""One cell of a config of its own, and the command that measures it."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def write_config(folder: Path, url: str, **run: object) -> Path:
    """A config file for one rank and the server at `url`. run: keys of its `run` to replace."""
    path = folder / "config.json"
    keys = {"inflight": 2, "ranks": 1, "iters": 4, "max_tokens": 2, "warmup": 0} | run
    text = {"name": "n", "models": {"m": {"served_as": "m"}}, "server": {"url": url}, "run": keys}
    path.write_text(json.dumps(text | {"results": str(folder / "results")}))
    return path


def serve_command(path: Path, output: Path, *worker: str) -> list[str]:
    """`mls serve` of the config at `path`. worker: words before the worker's, as a launcher's."""
    options = ["--config", str(path), "--cell", "model=m", "--output", str(output)]
    command = [sys.executable, "-m", "mls", "serve", *options, "--", *worker]
    return [*command, sys.executable, "-m", "mpi4py", "-m", "mls.worker", *options]
