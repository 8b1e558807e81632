"""Keys, in each way of configuring one, are in no file, no message and no process list."""

from __future__ import annotations

import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import yaml
from tests.secrets import CommandLines, places_of
from tests.servers.echoing import FAULTS, Echoing

KEYS = {"BEARER": "sk-planted/bearer", "AZKEY": "plantedazure", "GATEWAY": "Token planted+gateway"}
NEEDS = {
    "Authorization": f"Bearer {KEYS['BEARER']}",
    "api-key": KEYS["AZKEY"],
    "X-Gateway": KEYS["GATEWAY"],
}


@pytest.mark.parametrize("transport", ["epoll", "requests"])
def test_no_file_no_message_and_no_process_list_has_a_key(mpirun, tmp_path, transport):
    mpirun.environment |= KEYS
    results = tmp_path / "results"
    with Echoing(NEEDS) as gateway, CommandLines() as lines:
        config = {
            "models": {"m": {"served_as": "m"}},
            "server": {
                "url": gateway.url,
                "api_key_env": "BEARER",
                "headers_env": {"api-key": "AZKEY", "X-Gateway": "GATEWAY"},
            },
            "run": {
                "ranks": 2,
                "inflight": 2,
                "iters": 20,
                "retries": 0,
                "keep_output": True,
                "transport": transport,
            },
        }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        probe_options = ["probe", "--config", path, "--output", results / "probe.json"]
        probe = subprocess.run(
            list(map(str, [sys.executable, "-m", "mls", *probe_options])),
            env=mpirun.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        run = mpirun.run(2, "--config", path, "--output", results / "run")
    assert probe.returncode == run.returncode == 0, probe.stderr + run.stderr
    assert {"sk-planted/bearer", "plantedazure", "planted+gateway"} <= gateway.echoes
    assert any("mls.worker" in line for line in lines.texts)
    rows = pq.read_table(results / "run" / "requests.parquet").to_pylist()
    assert [row["error"] is None for row in rows] == [False] * len(FAULTS) + [True] * 13
    assert all("***" in row["output"] for row in rows if row["error"] is None)
    texts = [probe.stdout, probe.stderr, run.stdout, run.stderr, *lines.texts]
    assert places_of(["planted"], results, *texts) == []


@pytest.mark.parametrize(
    "keys",
    [
        {"run": {"request_headers": {"api-key": "sk-planted-0001"}}},
        {"run": {"request_headers": {"X-Gateway": "Bearer sk-planted-0001"}}},
        {"server": {"api_key_env": "sk-planted-0001"}},
        {"server": {"headers_env": {"api-key": "sk-planted-0001"}}},
        {"server": {"url": "http://me:planted@127.0.0.1:9"}},
        {"server": {"url": "http://127.0.0.1:9/v1?api-key=planted"}},
        {"server": {"urls": ["http://127.0.0.1:9", "http://127.0.0.1:8?sk-planted-0001"]}},
        {"run": {"endpoint": "/v1/chat/completions?api-version=1&subscription-key=planted"}},
        {"run": {"request_extra": {"metadata": [{"api_key": "planted"}]}}},
        {"server": {"extra_args": ["--hf-token=planted"]}},
    ],
)
def test_a_key_in_the_config_itself_is_refused_without_showing_it(mpich, tmp_path, keys):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"models": {"m": {}}} | keys))
    process = mpich.run(1, "--config", path, "--output", tmp_path / "run")
    assert process.returncode == 1
    text = process.stdout + process.stderr + (tmp_path / "run" / "failure.json").read_text()
    assert "planted" not in text and "mls run: " in text


@pytest.mark.parametrize("option", ["--server", "--endpoint", "MLS_SERVER"])
@pytest.mark.parametrize(
    "value", ["{}?api-key=planted", "{}#access_token=planted", "http://planted@h"]
)
def test_a_key_on_the_command_line_is_refused_without_showing_it(mpich, tmp_path, option, value):
    values = {"--server": "http://127.0.0.1:9", "--endpoint": "/v1/completions"}
    if option == "MLS_SERVER":
        mpich.environment["MLS_SERVER"] = value.format(values.pop("--server"))
    else:
        values[option] = value.format(values[option])
    words = [word for pair in values.items() for word in pair]
    process = mpich.run(1, *words, "--output", tmp_path / "run")
    assert process.returncode == 1
    text = process.stdout + process.stderr + (tmp_path / "run" / "failure.json").read_text()
    assert "planted" not in text and "mls run: " in text
