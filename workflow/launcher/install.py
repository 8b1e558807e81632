"""Installs what a lock says into the environment of this interpreter, and says why if it can't.

`.venv/bin/python workflow/launcher/install.py LOCK`; the installers' output is beside the environment.
uv, where the lock has it, installs the rest in a tenth of pip's time. It doesn't read pip's settings, so
pip tries again where uv fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TextIO

sys.path[0] = str(Path(__file__).parents[1])

from mls.host.installers import failure

PIP = [sys.executable, "-m", "pip", "install"]
UV = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--python", sys.executable]
LOCKED = ["--quiet", "--require-hashes", "--requirement"]


def main() -> int:
    """Install. Returns the last installer's exit status."""
    folder = Path(sys.prefix)
    log = folder.with_name(f"{folder.name}.log")
    try:
        with log.open("w+") as stream:
            status = install(sys.argv[1], stream)
            stream.seek(0)
            output = stream.read()
    except OSError as error:
        print(failure(folder.name, str(error), str(log)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if status:
        print(failure(folder.name, output, log.name), file=sys.stderr)
    else:
        log.unlink()
    return status


def install(lock: str, log: TextIO) -> int:
    """Install what the lock says. Returns the last installer's exit status. Raises `OSError`."""
    pins = uv_pins(Path(lock).read_text())
    if pins:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as only_uv:
            only_uv.write(pins)
            only_uv.flush()
            status = _call([*PIP, *LOCKED, only_uv.name], log)
        if status or not _call([*UV, *LOCKED, lock], log):
            return status
    return _call([*PIP, *LOCKED, lock], log)


def uv_pins(lock: str) -> str:
    """The lines of a lock about uv: its version and hashes. Empty where it has none."""
    match = re.search(r"^uv==.*(?:\n[ \t]+.*)*\n?", lock, re.MULTILINE)
    return match[0] if match else ""


def _call(command: list[str], log: TextIO) -> int:
    return subprocess.run(command, stdout=log, stderr=log, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
