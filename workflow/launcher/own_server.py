"""`make report SERVER=…`: a config for a server of one's own, made in the run environment."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from mls.host.run_environment import RunEnvironment

ROOT = Path(__file__).parents[2]


def config_for(options: argparse.Namespace) -> str:
    """The path of the config that `mls init` writes. Exits when that fails; it has said why.

    Raises `UserError` when the environment can't be built.
    """
    environment = RunEnvironment(ROOT, (ROOT / "requirements" / "run.txt",))
    environment.prepare()
    command = [str(environment.bin / "mls"), "init", options.server]
    command += ["--model", options.model] if options.model else []
    command += ["--api-key-env", options.key_env] if options.key_env else []
    path = f"{environment.bin}{os.pathsep}{os.environ.get('PATH', '')}"
    process = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PATH": path}, check=False
    )
    if process.returncode:
        sys.exit(process.returncode)
    return process.stdout.strip()
