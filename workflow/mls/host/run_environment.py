"""`.venv-run` of a checkout: the check that it fits its locks and its place, and its build.

This module runs under the launcher's interpreter. It needs nothing but the standard library,
Snakemake's own dependencies, and `core`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mls.core.digest import PACKAGE, file_sha256
from mls.core.errors import UserError
from mls.core.files import read_json, write
from mls.host.installers import failure
from mls.host.lock import shared
from mls.host.processes.lifetime import LAUNCHER_PID, die_with_launcher, die_with_parent

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Version of the launcher's Python, with which the run environment is built."""


@dataclass(frozen=True)
class RunEnvironment:
    """The run environment of the checkout `root`, by its hash-pinned locks."""

    root: Path
    locks: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        return self.root / ".venv-run"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def stamp(self) -> Path:
        """The file that a build writes last: `contents` of the environment that was built."""
        return self.folder / "built.json"

    def is_here(self) -> bool:
        """Whether it was built in this folder, which its programs name, and has an interpreter."""
        record = read_json(self.stamp) or {}
        return record.get("place") == str(self.folder) and (self.bin / "python").exists()

    def is_described(self, path: Path) -> bool:
        """Whether an environment.json describes this environment, and not one in another place."""
        record = read_json(path) or {"python": {"executable": ""}}
        return Path(record["python"]["executable"]).parent == self.bin

    def fits(self) -> bool:
        """Whether it is here, and its stamp has the present locks and the launcher's Python."""
        record = read_json(self.stamp) or {}
        return self.is_here() and record == record | self.contents()

    def contents(self) -> dict[str, Any]:
        """The stamp of an environment that fits: its folder, Python version and locks' SHA-256."""
        locks = {lock.name: file_sha256(lock) for lock in self.locks}
        return {"place": str(self.folder), "python": PYTHON, "locks": locks}

    def prepare(self) -> None:
        """Build the environment unless it fits, and keep others from rebuilding it meanwhile.

        That lasts until this process ends. Raises `UserError` when the build fails, and when other
        processes use an environment that doesn't fit.
        """
        with shared(self.root / ".snakemake" / "mls" / "venv-run.lock") as alone:
            if self.fits():
                return
            if not alone:
                raise UserError(
                    f"{self.folder} has to be built anew, and another run is at work in it: "
                    "wait until it is done, or use another checkout."
                )
            print(f"Building the run environment {self.folder}", file=sys.stderr, flush=True)
            paths = map(str, (self.root, *self.locks))
            variables = {"PYTHONPATH": str(PACKAGE.parent), LAUNCHER_PID: str(os.getpid())}
            process = subprocess.run(
                [sys.executable, "-m", "mls.host.run_environment", *paths],
                env=os.environ | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
            if process.returncode:
                log = self.root / ".snakemake" / "mls" / "venv-run.log"
                with contextlib.suppress(UserError):  # the disk may be full
                    write(log, process.stdout)
                raise UserError(
                    failure(f"The run environment {self.folder.name}", process.stdout, str(log))
                )

    def build(self) -> None:
        """Build the environment with uv, else with venv and pip.

        Raises `CalledProcessError` and `OSError`.
        """
        self.stamp.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        beside = Path(sys.executable).with_name("uv")
        uv = str(beside) if beside.exists() else shutil.which("uv")
        # uv would take the launcher's own environment for the target
        environ = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
        for command in self._commands(uv):
            subprocess.run(command, check=True, env=environ, preexec_fn=die_with_parent)
        record = self.contents() | {"with": "uv" if uv else "pip"}
        self.stamp.write_text(json.dumps(record, indent=1) + "\n")

    def _commands(self, uv: str | None) -> list[list[str]]:
        """The installer's command lines, in order."""
        python = str(self.bin / "python")
        requirements = [word for lock in self.locks for word in ("--requirement", str(lock))]
        package = ["--no-deps", "--no-build-isolation", "--editable", str(self.root)]
        if uv:
            install = [uv, "pip", "install", "--quiet", "--python", python]
            create = [uv, "venv", "--quiet", "--python", sys.executable, str(self.folder)]
        else:
            install = [python, "-m", "pip", "install", "--quiet"]
            create = [sys.executable, "-m", "venv", str(self.folder)]
        return [create, [*install, "--require-hashes", *requirements], [*install, *package]]


def main() -> int:
    """Build the environment. Returns an exit status; a failed installer has printed its message."""
    die_with_launcher()
    root, *locks = map(Path, sys.argv[1:])
    try:
        RunEnvironment(root, tuple(locks)).build()
    except subprocess.CalledProcessError as error:
        return error.returncode if error.returncode > 0 else 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
