"""A run on a llama.cpp router: the time that loading takes is told apart from the requests'."""

import json

from tests.conftest import http_server
from tests.servers.router import MODEL, Router


def test_the_load_is_in_the_record_and_in_no_request(mpich, tmp_path):
    router = Router()
    with http_server(router.answers) as server:
        options = [
            "--model",
            MODEL,
            "--iters",
            4,
            "--inflight",
            2,
            "--max-tokens",
            1,
            "--warmup",
            0,
        ]
        process = mpich.run(2, "--server", server.url, *options, "--output", tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    result = json.loads((tmp_path / "run.json").read_text())
    assert result["server"]["cold_load_s"] > 0
    assert result["summary"]["requests"]["ok"] == 4
    assert result["server"]["before"]["model_path"] == "models/smollm2.gguf"
