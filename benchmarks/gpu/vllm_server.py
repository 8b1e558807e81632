"""A vLLM of ours, and what its page of metrics says of the requests between two readings."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import requests

from mls.analysis.repeat.server_figures import ServerFigures
from mls.host.processes.descendants import end_tree
from mls.protocol.engines.profile import Figure
from mls.protocol.metrics import read_metrics

NAME = "llama-1b"
STARTUP_S = 400
STILL_S = 3
FIGURES: tuple[Figure, ...] = ("ttft_ms", "tpot_ms", "latency_ms")


@contextmanager
def serving(
    model: Path, port: int, api_servers: int, arguments: list[str], log: Path
) -> Iterator[str]:
    """vLLM with so many API processes; the URL, once it is healthy."""
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(model),
               "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port),
               "--api-server-count", str(api_servers), *arguments]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + STARTUP_S
        while not _healthy(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"vLLM isn't ready; see {log}:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)
        yield url
    finally:
        end_tree(process.pid, 20)


def _healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False


def metrics(url: str) -> dict[str, float]:
    return read_metrics(requests.get(f"{url}/metrics", timeout=10).text)


def at_work(page: dict[str, float]) -> float:
    """Requests in the engine; several API processes have no gauge before the first."""
    return sum(page.get(f"vllm:num_requests_{state}", 0) for state in ("running", "waiting"))


def at_rest(url: str) -> dict[str, float]:
    """`/metrics` once no request is at work, by its gauges or as no more tokens are made.

    With several API processes a gauge may keep what one of them wrote last, until the next request.
    """
    tokens, since = -1.0, time.monotonic()
    while True:
        page = metrics(url)
        if (made := page.get("vllm:generation_tokens_total", 0)) != tokens:
            tokens, since = made, time.monotonic()
        if not at_work(page) or time.monotonic() - since > STILL_S:
            return page
        time.sleep(0.1)


def server_means(before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    """The server's own figures between two readings of its `/metrics`."""
    server = ServerFigures(before, after)
    means = {f"server_{name}": pair[0] for name in FIGURES if (pair := server.mean_ms(name))}
    tokens, cached = server.profile.completion_tokens, server.profile.cached_tokens
    return means | {"tokens": server.growth(tokens), "cached": server.growth(cached)}


class Watch(threading.Thread):
    """Requests in flight by the server's gauges, four times a second."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._over = threading.Event()
        self.counts: list[float] = []

    def run(self) -> None:
        while not self._over.wait(0.25):
            with contextlib.suppress(requests.RequestException):  # a server too busy to answer
                if count := at_work(metrics(self._url)):
                    self.counts.append(count)

    def stop(self) -> float | None:
        """The mean of the middle half of the samples."""
        self._over.set()
        self.join()
        quarter = len(self.counts) // 4
        middle = self.counts[quarter : len(self.counts) - quarter]
        return mean(middle) if middle else None
