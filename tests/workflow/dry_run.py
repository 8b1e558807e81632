"""Dry runs of Snakemake: its imports, most of their time, are done once for all of them."""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["snakemake.cli"])


def dry_run(folder: Path, options: list[str]) -> tuple[int | None, str]:
    """(exit status, output) of `snakemake` with these options in this folder."""
    with tempfile.NamedTemporaryFile() as output:
        process = _FORKING.Process(target=_snakemake, args=(folder, options, output.name))
        process.start()
        process.join()
        return process.exitcode, output.read().decode()


def _snakemake(folder: Path, options: list[str], output: str) -> None:
    from snakemake import cli

    with Path(output).open("ab") as stream:
        for standard in (1, 2):
            os.dup2(stream.fileno(), standard)
    os.chdir(folder)
    sys.argv = ["snakemake", *options]
    cli.main(options)
