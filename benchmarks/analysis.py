"""Time and memory of tables and page for a sweep of a thousand runs.

`python -m benchmarks.analysis [--runs 1000] [--repeats 4]`; `--repeats 1` makes each run a cell.
The runs are synthetic: ten distinct ones, repeated.
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


def sweep_config(runs: int, requests: int, repeats: int) -> Config:
    inflights = [2 + i for i in range(max(1, runs // repeats // 5))]
    return config(
        repeats=repeats,
        sweep={"inflight": inflights, "prompt_words": [8, 16, 24, 32, 40]},
        run={"iters": requests, "max_tokens": TOKENS},
    )


def make(sweep: Config, results: Path, requests: int) -> int:
    """Write the runs, and return their number."""
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
            source = count % DISTINCT
            os.link(Path(folders[source]) / "requests.parquet", folder / "requests.parquet")
            (folder / "run.json").write_text(
                json.dumps(texts[source] | {"cell": cell, "repeat": repeat})
            )
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    sweep = sweep_config(options.runs, options.requests, options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        count = make(sweep, results, options.requests)
        begin_s, before = time.monotonic(), os.times()
        aggregate(sweep, results)
        tables_end_s = time.monotonic()
        render(sweep, results, results / "report.html")
        end_s, after = time.monotonic(), os.times()
        page_bytes = (results / "report.html").stat().st_size
    own_gib, reader_gib = (
        resource.getrusage(who).ru_maxrss / 2**20
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    row = {
        "runs": count,
        "cells": len(cells(sweep)),
        "requests": options.requests,
        "chunks": TOKENS,
        "tables_s": tables_end_s - begin_s,
        "page_s": end_s - tables_end_s,
        "together_s": end_s - begin_s,
        "page_mb": page_bytes / 1e6,
        "cpu_s": sum(after[:4]) - sum(before[:4]),
        "peak_gib": own_gib + usable_cores() * reader_gib,
    }
    print(save([row], "analysis").to_string(index=False, float_format=lambda x: f"{x:.2f}"))


if __name__ == "__main__":
    main()
