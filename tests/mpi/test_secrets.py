"""Keys, in each way of configuring one, are in no file, no message and no process list."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

CHAT = "/v1/chat/completions"
KEYS = {"BEARER": "sk-planted/bearer", "AZKEY": "planted/azure", "GATEWAY": "Token planted/gateway"}
ALL_KEYS = " ".join(KEYS.values())


@pytest.fixture
def gateway(make_server, reply):
    """A server that needs all keys on all paths, and repeats them wherever it can."""

    def guard(answer):
        def check(request):
            headers = {
                "Authorization": f"Bearer {KEYS['BEARER']}",
                "api-key": KEYS["AZKEY"],
                "X-Gateway": KEYS["GATEWAY"],
            }
            if not headers.items() <= request.headers.items():
                return reply(b'{"error": "no key"}', 401)
            return answer(request)

        return check

    def complete(request):
        usage = {"prompt_tokens": 7, "completion_tokens": 1}
        choice = {"finish_reason": ALL_KEYS}
        part = {"system_fingerprint": ALL_KEYS, "usage": usage}
        if not json.loads(request.body)["stream"]:
            choice["message"] = {"content": ALL_KEYS}
            return reply(json.dumps(part | {"choices": [choice]}).encode())
        choice["delta"] = {"content": ALL_KEYS}
        data = json.dumps(part | {"choices": [choice]})
        return reply(f"data: {data}\n\ndata: [DONE]\n\n".encode(), kind="text/event-stream")

    def refuse_some(request):
        count["requests"] += 1
        return (
            reply(f"no {ALL_KEYS}".encode(), 500)
            if not count["requests"] % 7
            else complete(request)
        )

    count = {"requests": 0}
    props = json.dumps({"build_info": ALL_KEYS, "model_path": ALL_KEYS}).encode()
    return make_server(
        {
            CHAT: guard(refuse_some),
            "/v1/models": guard(lambda _: reply(json.dumps([{"id": ALL_KEYS}]).encode())),
            "/props": guard(lambda _: reply(props)),
            "/metrics": guard(lambda _: reply(f"llamacpp:{ALL_KEYS} 1\n".encode())),
        }
    )


class CommandLines:
    """Command lines of all descendants of this process, while the context lasts."""

    def __init__(self):
        self.texts = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        while not self._over.wait(0.02):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    self.texts.add(" ".join(process.cmdline()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def test_no_file_no_message_and_no_process_list_has_a_key(mpirun, gateway, tmp_path, monkeypatch):
    for name, value in KEYS.items():
        mpirun.environment[name] = value
    config = {
        "models": {"m": {"served_as": "m"}},
        "server": {
            "url": gateway.url,
            "api_key_env": "BEARER",
            "headers_env": {"api-key": "AZKEY", "X-Gateway": "GATEWAY"},
        },
        "run": {"ranks": 2, "inflight": 2, "iters": 20, "keep_output": True, "retries": 0},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    results = tmp_path / "results"
    probe_options = ["probe", "--config", path, "--output", results / "probe.json"]
    with CommandLines() as lines:
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
    assert any("mls.worker" in line for line in lines.texts)
    rows = pq.read_table(results / "run" / "requests.parquet").to_pylist()
    assert {row["output"] for row in rows} >= {"*** *** ***"}
    assert any(row["error"] == "http_500" for row in rows)
    texts = [probe.stdout, probe.stderr, run.stdout, run.stderr, str(rows), *lines.texts]
    texts += [file.read_bytes().decode("latin-1") for file in results.rglob("*") if file.is_file()]
    assert not any("planted" in text for text in texts)


@pytest.mark.parametrize(
    "keys",
    [
        {"run": {"request_headers": {"api-key": "sk-planted-0001"}}},
        {"run": {"request_headers": {"X-Gateway": "Bearer sk-planted-0001"}}},
        {"server": {"api_key_env": "sk-planted-0001"}},
        {"server": {"headers_env": {"api-key": "sk-planted-0001"}}},
        {"server": {"url": "http://me:planted@127.0.0.1:9"}},
    ],
)
def test_a_key_in_the_config_itself_is_refused_without_showing_it(mpirun, tmp_path, keys):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"models": {"m": {}}} | keys))
    process = mpirun.run(1, "--config", path, "--output", tmp_path / "run")
    assert process.returncode == 1
    text = process.stdout + process.stderr + (tmp_path / "run" / "failure.json").read_text()
    assert "planted" not in text and "mls run: " in text
