"""Clients against vLLM's own histograms of the very runs that they time.

    python -m benchmarks.gpu.vllm --model FOLDER --output DIR [--api-servers 1 4] [--inflight 64 256]

Serves the model (`--load-format dummy` needs a config and a tokenizer only), and for each number of
requests in flight and each repeat lets every client in turn send the same load: `mls run` with one
and with four ranks, and `vllm bench serve`. Around each run the server's `/metrics` are read: its
means of TTFT, TPOT and latency are of just that run's requests. One line of `rows.jsonl` a run; the
table last. Needs vllm and this project in one Python; `vllm.sh` makes that on a machine with a card.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
import requests

from mls.analysis.repeat.server_figures import ServerFigures
from mls.protocol.metrics import read_metrics

NAME = "llama-1b"
PORT = 8123
PROMPT_WORDS, PROMPT_TOKENS, REPLY_TOKENS = 72, 98, 128
STARTUP_S = 400
FIGURES = ("ttft_ms", "tpot_ms", "latency_ms")


@dataclass(frozen=True)
class Client:
    """A client. command: of (requests in flight, requests, folder for its files).

    means: its own means by `FIGURES`, and tokens/s, from these files.
    """

    name: str
    command: Callable[[int, int, Path], list[str]]
    means: Callable[[Path], dict[str, float]]


@contextmanager
def serving(model: Path, api_servers: int, arguments: list[str], log: Path) -> Iterator[str]:
    """vLLM with so many API processes; the URL, once it is healthy."""
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(model),
               "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(PORT),
               "--api-server-count", str(api_servers), *arguments]  # fmt: skip
    url = f"http://127.0.0.1:{PORT}"
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
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs([psutil.Process(p.pid) for p in family if _runs(p.pid)], 20)
        for each in alive:
            each.kill()


def _healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid)


def metrics(url: str) -> dict[str, float]:
    return read_metrics(requests.get(f"{url}/metrics", timeout=10).text)


def at_work(page: dict[str, float]) -> float:
    """Requests in the engine; several API processes have no gauge before the first."""
    return sum(page.get(f"vllm:num_requests_{state}", 0) for state in ("running", "waiting"))


def at_rest(url: str) -> dict[str, float]:
    """`/metrics` once no request is at work."""
    while True:
        page = metrics(url)
        if not at_work(page):
            return page
        time.sleep(0.1)


class Watch(threading.Thread):
    """Requests in flight by the server's gauges, twice a second."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._over = threading.Event()
        self.counts: list[float] = []

    def run(self) -> None:
        while not self._over.wait(0.5):
            page = metrics(self._url)
            if count := at_work(page):
                self.counts.append(count)

    def stop(self) -> float | None:
        """The mean of the middle half of the samples."""
        self._over.set()
        self.join()
        quarter = len(self.counts) // 4
        middle = self.counts[quarter : len(self.counts) - quarter]
        return mean(middle) if middle else None


def measure(client: Client, url: str, inflight: int, waves: int, folder: Path) -> dict[str, Any]:
    """One run of a client, as it says and as the server does."""
    folder.mkdir(parents=True, exist_ok=True)
    before = at_rest(url)
    watch = Watch(url)
    watch.start()
    command = client.command(inflight, waves * inflight, folder)
    begin = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(folder))
        _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - begin
    outstanding = watch.stop()
    row = {"client": client.name, "inflight": inflight, "wall_s": wall_s, "in_flight": outstanding,
           "cpu_s": usage.ru_utime + usage.ru_stime, "status": status}  # fmt: skip
    if status:
        return row | {"error": (folder / "log").read_text()[-800:]}
    return row | server_means(before, at_rest(url)) | client.means(folder)


def server_means(before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    """The server's own figures between two readings of its `/metrics`."""
    server = ServerFigures(before, after)
    means = {f"server_{name}": pair[0] for name in FIGURES if (pair := server.mean_ms(name))}
    tokens, cached = server.profile.completion_tokens, server.profile.cached_tokens
    return means | {"tokens": server.growth(tokens), "cached": server.growth(cached)}


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"MLS_FOLDER": str(folder)}


def mls(ranks: int, url: str, *, counted: bool = False) -> Client:
    """`mls run` with so many ranks. counted: with the tokens so far in each chunk."""
    counts = {"include_usage": True, "continuous_usage_stats": True}
    extra = {"request_extra": {"stream_options": counts}} if counted else {}

    def command(inflight: int, count: int, folder: Path) -> list[str]:
        config = {
            "name": "vllm",
            "results": str(folder / "results"),
            "models": {"m": {"served_as": NAME}},
            "server": {"url": url},
            "run": {"endpoint": "/v1/completions", "iters": count, "inflight": inflight,
                    "ranks": ranks, "max_tokens": REPLY_TOKENS, "prompt_words": PROMPT_WORDS} | extra,
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        return ["mpirun", "-n", str(ranks), sys.executable, "-m", "mpi4py", "-m", "mls.worker",
                "--config", str(folder / "config.json"), "--output", str(folder / "run")]  # fmt: skip

    def means(folder: Path) -> dict[str, float]:
        result = json.loads((folder / "run" / "run.json").read_text())
        summary = result["summary"]
        own = {name: summary[name]["mean"] for name in FIGURES}
        # without its trial and warm-up requests, which are between the readings around the process
        own |= server_means(*(result["server"][when]["metrics"] for when in ("before", "after")))
        failed = [v["check"] for v in result["verdicts"] if v["status"] == "fail"]
        return own | {"tokens_per_s": summary["overall"]["completion_tokens_per_s"],
                      "failed": failed}  # fmt: skip

    name = f"mls, {ranks} rank{'s' if ranks > 1 else ''}{', counted' if counted else ''}"
    return Client(name, command, means)


def bench(model: Path, url: str) -> Client:
    """`vllm bench serve`."""

    def command(inflight: int, count: int, folder: Path) -> list[str]:
        seed = str(time.time_ns() % 2**31)
        return [sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "serve",
                "--backend", "openai", "--base-url", url, "--endpoint", "/v1/completions",
                "--model", NAME, "--tokenizer", str(model), "--dataset-name", "random",
                "--random-input-len", str(PROMPT_TOKENS), "--random-output-len", str(REPLY_TOKENS),
                "--ignore-eos", "--num-prompts", str(count), "--max-concurrency", str(inflight),
                "--seed", seed, "--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result",
                "--result-dir", str(folder), "--result-filename", "bench.json",
                "--disable-tqdm"]  # fmt: skip

    def means(folder: Path) -> dict[str, float]:
        result = json.loads((folder / "bench.json").read_text())
        return {"ttft_ms": result["mean_ttft_ms"], "tpot_ms": result["mean_tpot_ms"],
                "latency_ms": result["mean_e2el_ms"], "tokens_per_s": result["output_throughput"]}  # fmt: skip

    return Client("vllm bench serve", command, means)


def pace_ms(row: dict[str, Any], whose: str = "") -> float:
    """Mean time of a token after the first, in ms, from mean latency and mean TTFT.

    All replies have as many tokens, so this is the mean of their TPOT by one clock: the client's,
    or (`server_`) that of the server's front end. vLLM's own histogram of TPOT is by its engine's.
    """
    return (row[f"{whose}latency_ms"] - row[f"{whose}ttft_ms"]) / (REPLY_TOKENS - 1)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each cell's and client's repeats beside the server's own figures of them."""
    head = (
        "| API processes | in flight | client | TPOT, ms (beyond the front end's) "
        "| the engine's own, ms | TTFT beyond the server's, ms | tokens/s | CPU s |"
    )
    lines = [head, "|" + "---|" * 8]
    keys = dict.fromkeys((r["api_servers"], r["inflight"], r["client"]) for r in rows)
    for key in sorted(keys):
        good = [
            r
            for r in rows
            if (r["api_servers"], r["inflight"], r["client"]) == key and "ttft_ms" in r
        ]
        cells = [
            [f"{pace_ms(r):.2f} ({pace_ms(r) / pace_ms(r, 'server_') - 1:+.1%})" for r in good],
            [f"{r['server_tpot_ms']:.2f}" for r in good],
            [f"{r['ttft_ms'] - r['server_ttft_ms']:.0f}" for r in good],
            [f"{r['tokens_per_s']:,.0f}" for r in good],
            [f"{r['cpu_s']:.0f}" for r in good],
        ]
        lines.append(f"| {' | '.join(map(str, key))} | {' | '.join(map('; '.join, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, help="only print the table of these rows")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--api-servers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--inflight", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--waves", type=int, default=6, help="requests of each place")
    parser.add_argument("--budget-s", type=float, default=1e9, help="start no run after this")
    parser.add_argument("serve", nargs="*", help="further arguments of vllm serve")
    options = parser.parse_args()
    if options.rows:
        print(table([json.loads(line) for line in options.rows.read_text().splitlines()]))
        return
    if not options.model or not options.output:
        parser.error("give --model and --output, or --rows")
    options.output.mkdir(parents=True, exist_ok=True)
    begin, rows = time.monotonic(), []
    for api_servers in options.api_servers:
        log = options.output / f"server{api_servers}.log"
        with serving(options.model, api_servers, options.serve, log) as url:
            print(f"[{time.monotonic() - begin:.0f} s] {api_servers} API servers: up", flush=True)
            clients = [*(mls(ranks, url) for ranks in options.ranks), bench(options.model, url),
                       mls(1, url, counted=True)]  # fmt: skip
            for repeat in range(options.repeats):
                for inflight in options.inflight:
                    for client in clients[repeat % 4 :] + clients[: repeat % 4]:
                        if time.monotonic() - begin > options.budget_s:
                            continue
                        name = f"{api_servers}-{inflight}-{repeat}-{client.name.replace(' ', '_')}"
                        folder = options.output / name
                        row = measure(client, url, inflight, options.waves, folder)
                        row |= {"api_servers": api_servers, "repeat": repeat}
                        rows.append(row)
                        with (options.output / "rows.jsonl").open("a") as lines:
                            lines.write(json.dumps(row) + "\n")
                        print(f"[{time.monotonic() - begin:.0f} s] {json.dumps(row)}", flush=True)
            (options.output / f"metrics{api_servers}.txt").write_text(
                requests.get(f"{url}/metrics", timeout=10).text
            )
    print(table(rows))


if __name__ == "__main__":
    main()
