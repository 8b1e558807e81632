"""Clients against vLLM's own histograms of the very runs that they time.

    python -m benchmarks.gpu.vllm --model FOLDER --output DIR [--api-servers 1 4] [--inflight 64 256]

Serves the model (`--load-format dummy` needs a config and a tokenizer only), and for each repeat and
each number of requests in flight lets every client in turn send the same load: `mls run` with one
and with four ranks, `vllm bench serve`, and AIPerf and guidellm where `--peers` holds them. Around
each run the server's `/metrics` are read: its means of TTFT, TPOT and latency are of just that run's
requests. One line of `rows.jsonl` a run; the table last. Needs vllm and this project in one Python;
`vllm.sh` makes that on a machine with a card.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.gpu.vllm_clients import REPLY_TOKENS, Client, clients
from benchmarks.gpu.vllm_server import Watch, at_rest, server_means, serving
from mls.host.processes.descendants import adopting_orphans, end_children

RUN_S = 120  # no client needs longer; one that hangs must not take the machine's time
ENDING_S = 10


def measure(client: Client, url: str, inflight: int, waves: int, folder: Path) -> dict[str, Any]:
    """One run of a client, as it says and as the server does."""
    folder.mkdir(parents=True, exist_ok=True)
    before = at_rest(url)
    watch = Watch(url)
    watch.start()
    begin = time.monotonic()
    status, cpu_s = timed(
        client, client.command(inflight, waves * inflight, folder), folder / "log"
    )
    wall_s = time.monotonic() - begin
    row = {"client": client.name, "inflight": inflight, "wall_s": wall_s,
           "gauge": watch.stop(), "cpu_s": cpu_s, "status": status}  # fmt: skip
    try:
        means = client.means(folder)
    except (OSError, ValueError, LookupError, TypeError) as error:
        log = (folder / "log").read_text(errors="replace")
        return row | {"error": f"{error!r}: {log[-800:]}"}
    return row | server_means(before, at_rest(url)) | means


def timed(client: Client, command: list[str], log: Path) -> tuple[int | None, float]:
    """(exit status, CPU seconds) of a command with all processes that it started.

    Status None: it ran for `RUN_S` and was ended.
    """
    with adopting_orphans(), log.open("wb") as output:
        earlier = {child.pid for child in psutil.Process().children()}
        process = subprocess.Popen(command, stdout=output, stderr=output, env=client.environment())
        main = _waited(process.pid, RUN_S)
        # what it left behind has come to this process
        orphans = [
            c.pid for c in psutil.Process().children() if c.pid not in {process.pid, *earlier}
        ]
        rest = [_waited(pid, ENDING_S) for pid in orphans]
        end_children(keep=earlier)
    return main[0] if main else None, sum(each[1] for each in (main, *rest) if each)


def _waited(pid: int, limit_s: float) -> tuple[int, float] | None:
    """(exit status, CPU seconds) of a child and its own, waited-for ones; None: it still runs."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        time.sleep(0.02)
    return None


def rounds(options: argparse.Namespace, url: str, api_servers: int, begin: float) -> None:
    """All repeats on one server, clients in turn, each time another one first.

    Each row is written at once: what ends early leaves whole rounds.
    """
    everyone = clients(options.model, url, options.ranks, options.peers)
    for repeat in range(options.repeats):
        turn = repeat % len(everyone)
        order = everyone[turn:] + everyone[:turn]
        for inflight, client in itertools.product(options.inflight, order):
            if time.monotonic() - begin > options.budget_s:
                return
            name = f"{api_servers}-{inflight}-{repeat}-{client.name.replace(' ', '_')}"
            row = measure(client, url, inflight, options.waves, options.output / name)
            row |= {"api_servers": api_servers, "repeat": repeat}
            with (options.output / "rows.jsonl").open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            print(f"[{time.monotonic() - begin:.0f} s] {json.dumps(row)}", flush=True)


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pace_ms(row: dict[str, Any], whose: str = "") -> float:
    """Mean time of a token after the first, in ms, from mean latency and mean TTFT.

    All replies have as many tokens, so this is the mean of their TPOT by one clock: the client's,
    or (`server_`) that of the server's front end. vLLM's own histogram of TPOT is by its engine's.
    """
    return (row[f"{whose}latency_ms"] - row[f"{whose}ttft_ms"]) / (REPLY_TOKENS - 1)


def in_flight(row: dict[str, Any]) -> float:
    """Mean number of requests in the server, over the client's time of the load, begin and end too.

    By Little's law: the sum of the latencies that the front end saw, over that time.
    """
    requests_per_s = row["tokens_per_s"] / REPLY_TOKENS
    return float(row["server_latency_ms"]) / 1e3 * requests_per_s


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each cell's and client's repeats beside the server's own figures of them."""
    head = (
        "| API processes | in flight | client | TPOT, ms (beyond the front end's) "
        "| the engine's own, ms | TTFT beyond the server's, ms | in flight, by the server "
        "| tokens/s | CPU s |"
    )
    lines = [head, "|" + "---|" * 9]
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
            [f"{in_flight(r):.0f}" for r in good],
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
    parser.add_argument("--peers", type=Path, help="holds site-aiperf and site-guidellm")
    parser.add_argument("--api-servers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--inflight", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--waves", type=int, default=4, help="requests of each place")
    parser.add_argument("--budget-s", type=float, default=1e9, help="start no run after this")
    parser.add_argument("serve", nargs="*", help="further arguments of vllm serve")
    options = parser.parse_args()
    if options.rows:
        print(table(read_rows(options.rows)))
        return
    if not options.model or not options.output:
        parser.error("give --model and --output, or --rows")
    options.output.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    for api_servers in options.api_servers:
        log = options.output / f"server{api_servers}.log"
        with serving(options.model, api_servers, options.serve, log) as url:
            print(f"[{time.monotonic() - begin:.0f} s] {api_servers} API processes: up", flush=True)
            rounds(options, url, api_servers, begin)
            (options.output / f"metrics{api_servers}.txt").write_text(
                requests.get(f"{url}/metrics", timeout=10).text
            )
    print(table(read_rows(options.output / "rows.jsonl")))


if __name__ == "__main__":
    main()
