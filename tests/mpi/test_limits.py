"""Limits within a request under real mpirun: what struck is in the run's own failure."""

import json

import pyarrow.parquet as pq
import yaml


def test_what_struck_is_recorded_for_all_ranks(mpirun, server, tmp_path):
    # replies of 10 s: no rank is kept waiting for a core for so long that it finds a whole one
    run = {"ranks": 3, "inflight": 4, "iters": 12, "warmup": 0, "max_tokens": 1000}
    config = {
        "models": {"m": {"served_as": "honest"}},
        "server": {"url": server.url},
        "run": run | {"timeout_between_chunks_s": 0.001},  # the server takes 10 ms a token
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    done = mpirun.run(3, "--config", path, "--output", tmp_path)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    message = json.loads((tmp_path / "failure.json").read_text())["message"]
    assert "12 × timeout_between_chunks" in message
    table = pq.read_table(tmp_path / "requests.partial.parquet")
    assert set(table["rank"].to_pylist()) >= {1, 2}  # 0 works too on few cores
    assert set(table["error"].to_pylist()) == {"timeout_between_chunks"}
    assert all(count >= 1 for count in table["chunks"].to_pylist())
