"""Keys, in each way of configuring one, are in no file, no message and no process list."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from tests.secrets import CommandLines, places_of
from tests.servers.echoing import FAULTS, Echoing

REFUSED = Path(__file__).with_name("refused.py")
KEYS = {"BEARER": "sk-planted/bearer", "AZKEY": "plantedazure", "GATEWAY": "Token planted+gateway"}
NEEDS = {
    "Authorization": f"Bearer {KEYS['BEARER']}",
    "api-key": KEYS["AZKEY"],
    "X-Gateway": KEYS["GATEWAY"],
}


@pytest.mark.parametrize("transport", ["epoll", "requests"])
def test_no_file_no_message_and_no_process_list_has_a_key(mpich, tmp_path, transport):
    mpich.environment |= KEYS
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
            env=mpich.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        run = mpich.run(2, "--config", path, "--output", results / "run")
    assert probe.returncode == run.returncode == 0, probe.stderr + run.stderr
    assert {"sk-planted/bearer", "plantedazure", "planted+gateway"} <= gateway.echoes
    assert any("mls.worker" in line for line in lines.texts)
    rows = pq.read_table(results / "run" / "requests.parquet").to_pylist()
    assert [row["error"] is None for row in rows] == [False] * len(FAULTS) + [True] * 13
    assert all("***" in row["output"] for row in rows if row["error"] is None)
    texts = [probe.stdout, probe.stderr, run.stdout, run.stderr, *lines.texts]
    assert places_of(["planted"], results, *texts) == []


CONFIGS = [
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
]
"""Keys of configs that hold a key themselves."""


def assert_refused(mpich, folder, calls):
    """Each run (variables, options) is refused without showing its key; all are one job."""
    outputs = [folder / f"run{number}" for number in range(len(calls))]
    runs = [
        (variables, [*map(str, options), "--output", str(output)])
        for (variables, options), output in zip(calls, outputs, strict=True)
    ]
    (folder / "runs.json").write_text(json.dumps(runs))
    process = mpich.run(1, folder / "runs.json", program=[REFUSED])
    assert process.returncode == 0, process.stdout + process.stderr
    assert "planted" not in process.stdout + process.stderr
    said = [
        stream.split("=== end of run, exit status ") for stream in (process.stdout, process.stderr)
    ]
    assert [len(parts) for parts in said] == [len(calls) + 1] * 2
    for number, (call, output) in enumerate(zip(calls, outputs, strict=True)):
        assert said[0][number + 1].startswith("1\n"), call
        texts = [parts[number].partition("\n")[2] if number else parts[number] for parts in said]
        text = "".join(texts) + (output / "failure.json").read_text()
        assert "planted" not in text and "mls run: " in text, call


def test_a_key_in_the_config_itself_is_refused_without_showing_it(mpich, tmp_path):
    paths = [tmp_path / f"{number}.yaml" for number in range(len(CONFIGS))]
    for path, keys in zip(paths, CONFIGS, strict=True):
        path.write_text(yaml.safe_dump({"models": {"m": {}}} | keys))
    assert_refused(mpich, tmp_path, [({}, ["--config", path]) for path in paths])


def test_a_key_on_the_command_line_is_refused_without_showing_it(mpich, tmp_path):
    calls = []
    for option in ("--server", "--endpoint", "MLS_SERVER"):
        for value in ("{}?api-key=planted", "{}#access_token=planted", "http://planted@h"):
            values = {"--server": "http://127.0.0.1:9", "--endpoint": "/v1/completions"}
            variables = {}
            if option == "MLS_SERVER":
                variables[option] = value.format(values.pop("--server"))
            else:
                values[option] = value.format(values[option])
            calls.append((variables, [word for pair in values.items() for word in pair]))
    assert_refused(mpich, tmp_path, calls)
