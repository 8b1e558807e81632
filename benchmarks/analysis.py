"""How long tables and page take, and in how much memory, for a sweep of a thousand runs.

`python -m benchmarks.analysis [--runs 1000] [--repeats 4]`; `--repeats 1` makes each run a cell.
The runs are made up; ten distinct ones, repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from tests.unit.synthetic import Load, config, table, write_repeat

from benchmarks.tables import save
from mls.analysis.tables import aggregate
from mls.config.cells import cells, run_path
from mls.config.config import Config
from mls.host.machine import usable_cores
from mls.report.pages.page import render

DISTINCT = 10
TOKENS = 64


def planned(runs: int, requests: int, repeats: int) -> Config:
    inflights = [2 + i for i in range(max(1, runs // repeats // 5))]
    return config(
        repeats=repeats,
        sweep={"inflight": inflights, "prompt_words": [8, 16, 24, 32, 40]},
        run={"iters": requests, "max_tokens": TOKENS},
    )


def make(sweep: Config, results: Path, requests: int) -> int:
    """Write the runs; returns their number."""
    folders = []
    for seed in range(DISTINCT):
        load = Load(places=2, requests=requests, tokens=TOKENS, noise=0.2, seed=seed)
        folders.append(write_repeat(sweep, results / "distinct", cells(sweep)[0], 1, table(load)))
        folders[-1] = shutil.move(folders[-1], results / f"distinct-{seed}")
    texts = [json.loads((Path(folder) / "run.json").read_text()) for folder in folders]
    count = 0
    for cell in cells(sweep):
        for repeat in range(1, sweep.repeats + 1):
            folder = results / "runs" / run_path(sweep, cell, repeat)
            folder.mkdir(parents=True)
            one = count % DISTINCT
            os.link(Path(folders[one]) / "requests.parquet", folder / "requests.parquet")
            (folder / "run.json").write_text(
                json.dumps(texts[one] | {"cell": cell, "repeat": repeat})
            )
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=4)
    given = parser.parse_args()
    sweep = planned(given.runs, given.requests, given.repeats)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        count = make(sweep, results, given.requests)
        began, before = time.monotonic(), os.times()
        aggregate(sweep, results)
        tables = time.monotonic()
        render(sweep, results, results / "report.html")
        done, after = time.monotonic(), os.times()
        page = (results / "report.html").stat().st_size
    own, readers = (
        resource.getrusage(who).ru_maxrss / 2**20
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    row = {
        "runs": count,
        "cells": len(cells(sweep)),
        "requests": given.requests,
        "chunks": TOKENS,
        "tables_s": tables - began,
        "page_s": done - tables,
        "together_s": done - began,
        "page_mb": page / 1e6,
        "cpu_s": sum(after[:4]) - sum(before[:4]),
        "peak_gib": own + usable_cores() * readers,
    }
    print(save([row], "analysis").to_string(index=False, float_format=lambda x: f"{x:.2f}"))


if __name__ == "__main__":
    main()
