"""Installs what a lock says into the environment of this interpreter, and says why if it can't.

`.venv/bin/python workflow/launcher/install.py LOCK`; pip's output is beside the environment.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

from mls.host.installers import failure


def main() -> int:
    """Install. Returns pip's exit status."""
    folder = Path(sys.prefix)
    log = folder.with_name(f"{folder.name}.log")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", sys.argv[1]]  # fmt: skip
    try:
        with log.open("w+") as stream:
            status = subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode
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


if __name__ == "__main__":
    sys.exit(main())
