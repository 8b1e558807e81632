"""`run.rounds` and `--rounds` under real mpirun: the run sends so many requests for each place."""

import json

import pytest
import yaml


@pytest.mark.parametrize("inflight, requests", [(1, 5), (3, 12)])
def test_each_place_has_its_rounds(mpich, server, tmp_path, inflight, requests):
    config = {
        "models": {"m": {"served_as": "honest"}},
        "server": {"url": server.url},
        "run": {"ranks": 2, "rounds": 4, "iters": 5, "warmup": 0, "max_tokens": 2},
        "sweep": {"inflight": [1, 3]},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    cell = ("--cell", f"inflight={inflight}")
    process = mpich.run(2, "--config", path, *cell, "--output", tmp_path / "out")
    assert process.returncode == 0, process.stdout + process.stderr
    assert len(server.replies) == requests
    assert json.loads((tmp_path / "out" / "run.json").read_text())["config"]["run"]["rounds"] == 4
    assert f"ok={requests} err=0" in process.stdout


def test_the_option_replaces_what_the_config_says_of_a_runs_end(mpich, server, tmp_path):
    config = {
        "models": {"m": {"served_as": "honest"}},
        "server": {"url": server.url},
        "run": {"ranks": 1, "inflight": 3, "duration_s": 60.0, "warmup": 0, "max_tokens": 2},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    process = mpich.run(1, "--config", path, "--rounds", 2)
    assert process.returncode == 0, process.stdout + process.stderr
    assert len(server.replies) == 6
