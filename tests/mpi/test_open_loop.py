"""An open loop under real mpirun: the same arrivals, and the same prompts, on any number of ranks."""

import json

import numpy as np
import pyarrow.parquet as pq
import yaml

from mls.load.schedule import schedule
from mls.model.load import Load

LOAD = {"kind": "gamma", "rate": 60.0, "burstiness": 0.5}


def test_the_pooled_arrivals_are_the_schedule_on_any_number_of_ranks(mpirun, server, tmp_path):
    hashes = []
    for ranks in (1, 3):
        config = {
            "models": {"m": {"served_as": "honest"}},
            "server": {"url": server.url},
            "run": {"ranks": ranks, "inflight": 4, "iters": 40, "max_tokens": 3},
            "load": LOAD,
        }
        path, folder = tmp_path / f"{ranks}.yaml", tmp_path / str(ranks)
        path.write_text(yaml.safe_dump(config))
        done = mpirun.run(ranks, "--config", path, "--seed", 5, "--output", folder)
        assert done.returncode == 0, done.stdout + done.stderr
        table = pq.read_table(folder / "requests.parquet")
        due = table["scheduled_ns"].to_numpy()
        planned = schedule(Load.model_validate(LOAD), 5, 40, None, None).at_ns
        assert (np.diff(due) == np.diff(planned)).all()
        assert (table["start_ns"].to_numpy() >= due).all()
        result = json.loads((folder / "run.json").read_text())
        verdicts = {v["check"]: v["status"] for v in result["verdicts"]}
        assert verdicts["server_kept_up"] == "pass" and "concurrency_held" not in verdicts
        assert result["summary"]["requests"]["ok"] == 40
        hashes.append(table["prompt_sha256"].to_pylist())
    assert hashes[0] == hashes[1] and len(set(hashes[0])) == 40
