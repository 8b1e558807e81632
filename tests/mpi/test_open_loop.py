"""An open loop under real mpirun: the same arrivals and prompts on any number of ranks."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import stats
from tests.mpi.jobs import run_in_turn
from tests.servers.honest import HonestServer

from mls.config.sections.load import Load
from mls.core.units import NS_PER_S
from mls.load.workload.schedule import schedule

RATE, REQUESTS = 100.0, 150
RANKS = (1, 2, 4)
LOADS = {
    "poisson": ({"kind": "poisson", "rate": RATE}, stats.expon(scale=1 / RATE)),
    "gamma": (
        {"kind": "gamma", "rate": RATE, "burstiness": 0.5},
        stats.gamma(0.5, scale=2 / RATE),
    ),
}


@pytest.fixture(scope="module")
def runs(any_mpirun, tmp_path_factory):
    """Name of the load → its runs' folders, of each number of ranks, whose loads are one job."""
    folder = tmp_path_factory.mktemp("open")
    with HonestServer() as server:
        for ranks in RANKS:
            options = [options_of(folder, server.url, name, ranks) for name in LOADS]
            process = run_in_turn(any_mpirun, ranks, folder, options)
            assert process.returncode == 0, process.stdout + process.stderr
    return {name: [folder / f"{name}{ranks}" for ranks in RANKS] for name in LOADS}


def options_of(folder, url, name, ranks):
    """The worker's options of a run, whose config is written to the folder."""
    config = {
        "models": {"m": {"served_as": "honest"}},
        "server": {"url": url},
        "run": {"ranks": ranks, "inflight": 4, "iters": REQUESTS, "max_tokens": 3},
        "load": LOADS[name][0],
    }
    path = folder / f"{name}{ranks}.yaml"
    path.write_text(yaml.safe_dump(config))
    return ["--config", path, "--seed", 5, "--output", path.with_suffix("")]


@pytest.mark.parametrize("name", LOADS)
def test_the_pooled_arrivals_are_the_process_on_any_number_of_ranks(runs, name):
    load, gaps = LOADS[name]
    hashes = []
    for folder in runs[name]:
        table = pq.read_table(folder / "requests.parquet")
        due_ns = table["scheduled_ns"].to_numpy()
        plan_ns = schedule(Load.model_validate(load), 5, REQUESTS, None, None).at_ns
        assert (np.diff(due_ns) == np.diff(plan_ns)).all()
        assert stats.kstest(np.diff(due_ns) / NS_PER_S, gaps.cdf).pvalue > 0.01
        assert (table["start_ns"].to_numpy() >= due_ns).all()
        result = json.loads((folder / "run.json").read_text())
        verdicts = {v["check"] for v in result["verdicts"]}
        assert "server_kept_up" in verdicts and "concurrency_held" not in verdicts
        assert result["summary"]["requests"]["ok"] == REQUESTS
        hashes.append(table["prompt_sha256"].to_pylist())
    assert len(hashes) == len(RANKS)
    assert hashes[0] == hashes[1] == hashes[2] and len(set(hashes[0])) == REQUESTS
