"""Keys that are planted in all ways in which one may be given are found nowhere."""

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
SAID = " ".join(KEYS.values())


@pytest.fixture
def gateway(make_server, reply):
    """Wants all keys on all paths, and repeats them wherever it can."""

    def guarded(answer):
        def checked(seen):
            wanted = {
                "Authorization": f"Bearer {KEYS['BEARER']}",
                "api-key": KEYS["AZKEY"],
                "X-Gateway": KEYS["GATEWAY"],
            }
            if not wanted.items() <= seen.headers.items():
                return reply(b'{"error": "no key"}', 401)
            return answer(seen)

        return checked

    def complete(seen):
        usage = {"prompt_tokens": 7, "completion_tokens": 1}
        choice = {"finish_reason": SAID}
        part = {"system_fingerprint": SAID, "usage": usage}
        if not json.loads(seen.body)["stream"]:
            choice["message"] = {"content": SAID}
            return reply(json.dumps(part | {"choices": [choice]}).encode())
        choice["delta"] = {"content": SAID}
        data = json.dumps(part | {"choices": [choice]})
        return reply(f"data: {data}\n\ndata: [DONE]\n\n".encode(), kind="text/event-stream")

    def refuse_some(seen):
        count["requests"] += 1
        return reply(f"no {SAID}".encode(), 500) if not count["requests"] % 7 else complete(seen)

    count = {"requests": 0}
    props = json.dumps({"build_info": SAID, "model_path": SAID}).encode()
    return make_server(
        {
            CHAT: guarded(refuse_some),
            "/v1/models": guarded(lambda _: reply(json.dumps([{"id": SAID}]).encode())),
            "/props": guarded(lambda _: reply(props)),
            "/metrics": guarded(lambda _: reply(f"llamacpp:{SAID} 1\n".encode())),
        }
    )


class CommandLines:
    """Those of all processes below this one, while it is entered."""

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
    probe = ["probe", "--config", path, "--output", results / "probe.json"]
    with CommandLines() as lines:
        probed = subprocess.run(
            list(map(str, [sys.executable, "-m", "mls", *probe])),
            env=mpirun.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        ran = mpirun.run(2, "--config", path, "--output", results / "run")
    assert probed.returncode == ran.returncode == 0, probed.stderr + ran.stderr
    assert any("mls.worker" in line for line in lines.texts)
    rows = pq.read_table(results / "run" / "requests.parquet").to_pylist()
    assert {row["output"] for row in rows} >= {"*** *** ***"}
    assert any(row["error"] == "http_500" for row in rows)
    everything = [probed.stdout, probed.stderr, ran.stdout, ran.stderr, str(rows), *lines.texts]
    everything += [
        file.read_bytes().decode("latin-1") for file in results.rglob("*") if file.is_file()
    ]
    assert not any("planted" in text for text in everything)


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
    run = mpirun.run(1, "--config", path, "--output", tmp_path / "run")
    assert run.returncode == 1
    said = run.stdout + run.stderr + (tmp_path / "run" / "failure.json").read_text()
    assert "planted" not in said and "mls run: " in said
