"""Calls of Snakemake as it would be called in a folder: its imports are done once for all calls."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["snakemake.cli"])


def snakemake(
    folder: Path, options: list[str], timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """`snakemake` with these options in this folder, and with this process's environment.

    Raises `subprocess.TimeoutExpired`.
    """
    with tempfile.TemporaryDirectory() as outputs:
        streams = [Path(outputs, name) for name in ("stdout", "stderr")]
        environment = dict(os.environ)
        process = _FORKING.Process(target=_call, args=(folder, options, streams, environment))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["snakemake", *options], timeout_s or 0)
        texts = [path.read_text(errors="replace") for path in streams]
    return subprocess.CompletedProcess(["snakemake", *options], process.exitcode, *texts)


def _call(
    folder: Path, options: list[str], streams: list[Path], environment: dict[str, str]
) -> None:
    from snakemake import cli

    for standard, path in enumerate(streams, start=1):
        with path.open("ab") as stream:
            os.dup2(stream.fileno(), standard)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["snakemake", *options]
    cli.main(options)
