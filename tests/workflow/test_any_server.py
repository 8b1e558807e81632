"""A sweep of a server of any kind: an axis on a word of its command, and what it refuses."""

import json

import psutil
import pytest

CONFIG = {
    "name": "any",
    "environment": {"manager": "current"},
    "models": {"weights": {"path": "tests/servers"}},
    "server": {
        "engine": "command",
        "command": [
            *("python", "-m", "tests.servers.two_processes"),
            *("--port", "{port}", "--seqs", "{seqs}", "--loading-s", "0.5"),
        ],
    },
    "run": {"iters": 6, "max_tokens": 4, "prompt_words": 4, "warmup": 0},
    "sweep": {"inflight": [2], "ranks": [1], "seqs": [4, 16]},
    "repeats": 1,
}


@pytest.fixture
def any_server(checkout):
    checkout.write(CONFIG)
    yield checkout
    checkout.reset()


def test_a_sweep_over_a_word_of_the_command(any_server):
    process = any_server.snakemake()
    assert process.returncode == 0, process.stdout + process.stderr
    folder = any_server.results / "runs" / "name~any" / "model~weights/inflight~2/ranks~1"
    for seqs in ("4", "16"):
        run = json.loads((folder / f"seqs~{seqs}" / "repeat~1" / "run.json").read_text())
        assert run["summary"]["requests"]["ok"] == 6
        assert run["cell"]["seqs"] == int(seqs)
        argv = run["server"]["engine"]["command"]
        assert argv[argv.index("--seqs") + 1] == seqs
        assert run["server"]["engine"]["engine"] == "command"
        assert run["server"]["before"]["engine"] == "generic"
        assert run["host"]["server"] == "managed"
        # what it refuses was found out, and a foreign cache is kept out
        assert run["workload"]["left_out"] == ["cache_prompt"]
        assert run["workload"]["salted"] is True
    assert "seqs 16" in (any_server.results / "report.html").read_text()
    assert any_server.plan() == {}
    lines = [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
    assert not [one for one in lines if "two_processes" in one and str(any_server.folder) in one]


def test_an_archive_of_it_verifies(any_server):
    if any_server.plan():
        assert any_server.snakemake().returncode == 0
    process = any_server.mls("archive", "--config", "config.yaml")
    assert process.returncode == 0, process.stderr
    process = any_server.mls("verify", process.stdout.strip())
    assert process.returncode == 0, process.stdout + process.stderr
