"""Limits within a request under real mpirun: the run's failure names the limit that struck."""

import json

import pyarrow.parquet as pq
import yaml


def test_what_struck_is_recorded_for_all_ranks(mpirun, server, tmp_path):
    # replies of 10 s: a rank that waits for a core still meets one that isn't whole
    run = {"ranks": 3, "inflight": 4, "iters": 12, "warmup": 0, "max_tokens": 1000}
    config = {
        "models": {"m": {"served_as": "honest"}},
        "server": {"url": server.url},
        "run": run | {"timeout_between_chunks_s": 0.001},  # the server takes 10 ms a token
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    process = mpirun.run(3, "--config", path, "--output", tmp_path)
    assert process.returncode != 0 and "Traceback" not in process.stderr
    message = json.loads((tmp_path / "failure.json").read_text())["message"]
    assert "12 × timeout_between_chunks" in message
    table = pq.read_table(tmp_path / "requests.partial.parquet")
    assert set(table["rank"].to_pylist()) >= {1, 2}  # rank 0 works too on few cores
    assert set(table["error"].to_pylist()) == {"timeout_between_chunks"}
    assert all(count >= 1 for count in table["chunks"].to_pylist())
