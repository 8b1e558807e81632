"""One repeat on the real engine, without Snakemake."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]


def measure(folder, model, cell=(), **keys):
    """(records, verdicts by check) of one repeat: `mls serve` around one rank."""
    config = {
        "name": "real",
        "results": str(folder / "results"),
        "models": {"smollm2": {"path": str(model)}},
        "server": {"parallel": 1, "ctx": 2048},
        "repeats": 1,
    } | keys
    config["server"]["threads"] = 1  # two threads on busy cores wait for each other
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    mls, out = [sys.executable, "-m", "mls"], folder / "out"
    description = folder / "results" / "models" / "smollm2.json"
    options = ["--config", path, *(word for pair in cell for word in ("--cell", pair))]
    worker = ["mpirun", "-n", "1", sys.executable, "-m", "mpi4py", "-m", "mls.worker"]
    for command in (
        [*mls, "model", "smollm2", "--config", path, "--output", description],
        [
            *mls,
            "serve",
            *options,
            "--log",
            folder / "log",
            "--",
            *worker,
            *options,
            "--output",
            out,
        ],
    ):
        process = subprocess.run(
            list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=200
        )
        assert process.returncode == 0, process.stdout + process.stderr
    result = json.loads((out / "run.json").read_text())
    checks = {verdict["check"]: verdict for verdict in result["verdicts"]}
    return pq.read_table(out / "requests.parquet").to_pylist(), checks
