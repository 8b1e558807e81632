"""One repeat on the real engine, without Snakemake."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
MLS = [sys.executable, "-m", "mls"]


def measure(folder, model, cell=(), **keys):
    """(records, verdicts by check) of one repeat: `mls serve` around one rank."""
    path, out = folder / "config.json", folder / "out"
    config = {
        "name": "real",
        "results": str(folder / "results"),
        "models": {"smollm2": {"path": str(model)}},
        "server": {"parallel": 1, "ctx": 2048},
        "repeats": 1,
    } | keys
    config["server"]["threads"] = 1  # two threads on busy cores wait for each other
    config["run"] = {"warmup": 0} | config["run"]
    path.write_text(json.dumps(config))
    description = folder / "results" / "models" / "smollm2.json"
    description.parent.mkdir(parents=True)
    description.write_text(_description(model, path))
    options = ["--config", path, *(word for pair in cell for word in ("--cell", pair))]
    worker = ["mpirun", "-n", "1", sys.executable, "-m", "mpi4py", "-m", "mls.worker"]
    serve = [*MLS, "serve", *options, "--log", folder / "log", "--"]
    _call([*serve, *worker, *options, "--output", out])
    result = json.loads((out / "run.json").read_text())
    checks = {verdict["check"]: verdict for verdict in result["verdicts"]}
    return pq.read_table(out / "requests.parquet").to_pylist(), checks


_descriptions = {}


def _description(model, config):
    """What Snakemake's jobs have of the model, made once for all tests."""
    if model not in _descriptions:
        path = config.with_name("description.json")
        _call([*MLS, "model", "smollm2", "--config", config, "--output", path])
        _descriptions[model] = path.read_text()
    return _descriptions[model]


def _call(command):
    process = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert process.returncode == 0, process.stdout + process.stderr
