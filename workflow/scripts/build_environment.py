"""Builds `.venv-run` from its hash-pinned locks: with uv when there is one, else venv and pip.

Then becomes the command after `--`. Runs under the launcher's interpreter, so it needs nothing but
the standard library and what Snakemake needs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))

from mls.host.lifetime import die_with_parent, die_with_workflow  # noqa: E402


def main() -> int:
    """Build it; a failing installer's message is enough."""
    die_with_workflow()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--built", type=Path, required=True, help="file to write when done")
    parser.add_argument("locks", type=Path, nargs="+", help="hash-pinned requirements")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, then = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    folder = ROOT / ".venv-run"
    shutil.rmtree(folder, ignore_errors=True)
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    try:
        for command in commands(uv, folder, ROOT, options.locks):
            subprocess.run(command, check=True, env=_environment(), preexec_fn=die_with_parent)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"The run environment could not be built: {error}", file=sys.stderr)
        return 1
    options.built.parent.mkdir(parents=True, exist_ok=True)
    built = {"with": "uv" if uv else "pip", "locks": [str(lock.name) for lock in options.locks]}
    options.built.write_text(json.dumps(built) + "\n")
    if then:
        os.execvp(then[0], then)
    return 0


def commands(uv: str | None, folder: Path, root: Path, locks: list[Path]) -> list[list[str]]:
    """The installer's command lines, in order."""
    python = str(folder / "bin" / "python")
    requirements = [option for lock in locks for option in ("--requirement", str(lock))]
    package = ["--no-deps", "--no-build-isolation", "--editable", str(root)]
    if uv:
        install = [uv, "pip", "install", "--quiet", "--python", python]
        create = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
    else:
        install = [python, "-m", "pip", "install", "--quiet"]
        create = [sys.executable, "-m", "venv", str(folder)]
    return [create, [*install, "--require-hashes", *requirements], [*install, *package]]


def _environment() -> dict[str, str]:
    """Without the launcher's own environment, which uv would take for the target."""
    return {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}


if __name__ == "__main__":
    sys.exit(main())
