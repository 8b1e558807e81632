"""The results of the clients that are held against vLLM, and the time that their processes took."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from benchmarks.gpu import vllm_server
from benchmarks.gpu.vllm import pace_ms, table, timed
from benchmarks.gpu.vllm_clients import Client, clients

RESULTS = Path(__file__).resolve().parent.parent / "fixtures" / "clients"
URL = "http://127.0.0.1:9"


def client(name: str, folder: Path = Path("peers")) -> Client:
    return next(c for c in clients(Path("model"), URL, [1], folder) if c.name == name)


@pytest.mark.parametrize(
    "name, ttft_ms, tpot_ms, latency_ms, tokens_per_s",
    [
        ("AIPerf", 182.77, 33.853, 4482.11, 428.34),
        ("guidellm", 75.129, 33.761, 4402.49, 458.02),
        ("vllm bench serve", 110.097, 4.2750, 653.023, 12365.68),
    ],
)
def test_result_is_in_ms(
    name: str, ttft_ms: float, tpot_ms: float, latency_ms: float, tokens_per_s: float
) -> None:
    means = client(name).means(RESULTS)

    assert means.pop("requests", 64) == 64
    assert means == pytest.approx(
        {"ttft_ms": ttft_ms, "tpot_ms": tpot_ms, "latency_ms": latency_ms,
         "tokens_per_s": tokens_per_s}, rel=1e-4
    )  # fmt: skip
    # each client's own time between tokens is what follows from its latency and TTFT
    assert means["tpot_ms"] == pytest.approx(pace_ms(means), rel=0.01)


@pytest.mark.parametrize("name", ["vllm bench serve", "AIPerf", "guidellm"])
def test_no_two_runs_have_the_same_prompts(name: str) -> None:
    first, second = (client(name).command(4, 16, Path("out")) for _ in range(2))

    assert len(first) == len(second)
    assert sum(a != b for a, b in zip(first, second, strict=True)) == 1


def test_packages_of_a_client_come_before_those_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "vllms")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    own = client("AIPerf", Path("peers")).environment()
    assert own["PYTHONPATH"].split(os.pathsep) == ["peers/site-aiperf", "vllms"]
    assert "HF_HUB_OFFLINE" not in own
    assert client("vllm bench serve").environment()["PYTHONPATH"] == "vllms"


BURN = "import time\nwhile time.process_time() < 0.2: pass"


def test_cpu_time_is_of_all_processes_also_of_those_left_behind(tmp_path: Path) -> None:
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])"

    status, cpu_s = timed(Client("c", None, None), [sys.executable, "-c", parent], tmp_path / "log")  # type: ignore[arg-type]

    assert status == 0
    assert cpu_s >= 0.2


def test_client_that_fails_is_told_by_its_status(tmp_path: Path) -> None:
    kill = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"

    status, _ = timed(Client("c", None, None), [sys.executable, "-c", kill], tmp_path / "log")  # type: ignore[arg-type]

    assert status == -signal.SIGKILL


def test_table_leaves_out_runs_without_figures() -> None:
    row = {"api_servers": 4, "inflight": 64, "client": "AIPerf", "cpu_s": 12.3,
           "ttft_ms": 100.0, "latency_ms": 1370.0, "server_ttft_ms": 90.0,
           "server_latency_ms": 1233.0, "server_tpot_ms": 8.0, "tokens_per_s": 6000.0}  # fmt: skip
    failed = {"api_servers": 4, "inflight": 64, "client": "AIPerf", "error": "no result"}

    last = table([row, failed, row]).splitlines()[-1]

    assert last == (
        "| 4 | 64 | AIPerf | 10.00 (+11.1%); 10.00 (+11.1%) | 8.00; 8.00 | 10; 10 | 58; 58 "
        "| 6,000; 6,000 | 12; 12 |"
    )


def test_mean_of_a_part_is_not_held_against_all() -> None:
    row = {"api_servers": 1, "inflight": 1024, "client": "mls, 1 rank", "cpu_s": 12.3,
           "ttft_ms": 80.0, "latency_ms": 1370.0, "server_ttft_ms": 90.0, "ttft_of_part": True,
           "server_latency_ms": 1233.0, "server_tpot_ms": 8.0, "tokens_per_s": 6000.0}  # fmt: skip

    assert table([row]).splitlines()[-1] == (
        "| 1 | 1024 | mls, 1 rank | – | 8.00 | – | 58 | 6,000 | 12 |"
    )


def test_gauge_that_stands_still_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    page = {"vllm:num_requests_running": 10.0, "vllm:generation_tokens_total": 128.0}
    monkeypatch.setattr(vllm_server, "metrics", lambda url: page)
    monkeypatch.setattr(vllm_server, "STILL_S", 0.01)

    assert vllm_server.at_rest(URL) == page
