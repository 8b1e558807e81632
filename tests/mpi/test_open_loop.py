"""An open loop under real mpirun: the same arrivals and prompts on any number of ranks."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import stats

from mls.config.sections.load import Load
from mls.core.units import NS_PER_S
from mls.load.workload.schedule import schedule

RATE, REQUESTS = 100.0, 150
LOADS = {
    "poisson": ({"kind": "poisson", "rate": RATE}, stats.expon(scale=1 / RATE)),
    "gamma": (
        {"kind": "gamma", "rate": RATE, "burstiness": 0.5},
        stats.gamma(0.5, scale=2 / RATE),
    ),
}


@pytest.mark.parametrize(("load", "gaps"), LOADS.values(), ids=LOADS)
def test_the_pooled_arrivals_are_the_process_on_any_number_of_ranks(
    mpirun, server, tmp_path, load, gaps
):
    hashes = []
    for ranks in (1, 2, 4):
        config = {
            "models": {"m": {"served_as": "honest"}},
            "server": {"url": server.url},
            "run": {"ranks": ranks, "inflight": 4, "iters": REQUESTS, "max_tokens": 3},
            "load": load,
        }
        path, folder = tmp_path / f"{ranks}.yaml", tmp_path / str(ranks)
        path.write_text(yaml.safe_dump(config))
        process = mpirun.run(ranks, "--config", path, "--seed", 5, "--output", folder)
        assert process.returncode == 0, process.stdout + process.stderr
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
    assert hashes[0] == hashes[1] == hashes[2] and len(set(hashes[0])) == REQUESTS
