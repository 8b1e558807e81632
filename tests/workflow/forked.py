"""Calls of Snakemake and of our launcher in a folder: Snakemake is imported once for all calls."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["snakemake.cli"])


def snakemake(
    folder: Path, options: list[str], timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """`snakemake` with these options in this folder, and with this process's environment.

    Raises `subprocess.TimeoutExpired`.
    """
    return _call(_snakemake, folder, ["snakemake", *options], timeout_s)


def launcher(
    folder: Path, options: list[str], timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """`python workflow/launcher` with these options, likewise; that folder has its own copy."""
    return _call(_launcher, folder, ["workflow/launcher", *options], timeout_s)


def _call(
    program: Callable[[list[str]], None], folder: Path, words: list[str], timeout_s: float | None
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as outputs:
        streams = [Path(outputs, name) for name in ("stdout", "stderr")]
        environment = dict(os.environ)
        arguments = (program, folder, words, streams, environment)
        process = _FORKING.Process(target=_in_child, args=arguments)
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout_s or 0)
        texts = [path.read_text(errors="replace") for path in streams]
    return subprocess.CompletedProcess(words, process.exitcode, *texts)


def _in_child(
    program: Callable[[list[str]], None],
    folder: Path,
    words: list[str],
    streams: list[Path],
    environment: dict[str, str],
) -> None:
    for standard, path in enumerate(streams, start=1):
        with path.open("ab") as stream:
            os.dup2(stream.fileno(), standard)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = list(words)
    program(words)


def _snakemake(words: list[str]) -> None:
    from snakemake import cli

    cli.main(words[1:])


def _launcher(words: list[str]) -> None:
    runpy.run_path(words[0], run_name="__main__")
