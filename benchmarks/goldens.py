"""Digests of `run.json`, tables and page, to check a change that should change none of them.

Run `python -m benchmarks.goldens` before and after the change, on one machine: floating-point
arithmetic differs between processors. `--results FOLDER --config FILE` adds recorded runs to the
synthetic ones, which are those of the tests.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from tests.unit.synthetic import config, write_failure, write_results

from mls.analysis.tables import aggregate
from mls.config.cells import cells, run_path
from mls.config.config import Config
from mls.config.parse import load_config
from mls.core.digest import file_sha256
from mls.core.run_folder import RUN
from mls.report.pages.page import render

NAMES = ("summary.csv", "cells.csv", "report.html")


def digests(sweep: Config, results: Path) -> dict[str, str]:
    """File → SHA-256 of tables and page, made anew, and of each `run.json`."""
    aggregate(sweep, results)
    render(sweep, results, results / "report.html")
    runs = sorted(str(path.relative_to(results)) for path in results.rglob(RUN))
    return {name: file_sha256(results / name) for name in [*NAMES, *runs]}


def synthetic(results: Path) -> dict[str, str]:
    """Digests of a small sweep with two models, a failed repeat and objectives."""
    sweep = config(
        models={"a": {"path": "a.gguf"}, "b": {"path": "b.gguf"}},
        slo={"ttft_ms": {"p95": 500}},
        repeats=3,
    )
    write_results(sweep, results)
    cell = cells(sweep)[-1]
    (results / "runs" / run_path(sweep, cell, 3) / RUN).unlink()
    write_failure(sweep, results, cell, 3, "The server died.")
    return digests(sweep, results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, help="Recorded runs; they are not changed.")
    parser.add_argument("--config", type=Path, help="Their config.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets = {"synthetic": synthetic(Path(folder, "synthetic"))}
        if options.results:
            copy = Path(shutil.copytree(options.results, Path(folder, "recorded")))
            sets["recorded"] = digests(load_config(options.config), copy)
    for name, file_digests in sets.items():
        for file, digest in file_digests.items():
            print(f"{digest[:16]} {name}/{file}")


if __name__ == "__main__":
    main()
