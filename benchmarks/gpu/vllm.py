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
from benchmarks.gpu.vllm_trace import FOLDER, RECORDER, Trace
from mls.host.processes.descendants import adopting_orphans, end_children

RUN_S = 120  # no client needs longer; one that hangs must not take the machine's time
ENDING_S = 10


def measure(
    client: Client, url: str, inflight: int, waves: int, folder: Path, trace: Path | None = None
) -> dict[str, Any]:
    """One run of a client, as it says and as the server does.

    trace: the folder that the server's `Recorder` writes to, if it has one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = at_rest(url)
    tracing = Trace(trace, url) if trace else None
    watch = Watch(url)
    watch.start()
    begin = time.monotonic()
    status, cpu_s = timed(
        client, client.command(inflight, waves * inflight, folder), folder / "log"
    )
    wall_s = time.monotonic() - begin
    row = {"client": client.name, "inflight": inflight, "wall_s": wall_s,
           "gauge": watch.stop(), "cpu_s": cpu_s, "status": status}  # fmt: skip
    if tracing:
        row["trace"] = tracing.stop(inflight, waves * inflight, folder / "trace.npz")
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
    everyone = clients(options.model, url, options.ranks, options.peers, options.also)
    if options.only:
        everyone = [client for client in everyone if client.name in options.only]
    trace = options.output / "trace" if options.trace else None
    loads = zip(options.inflight, itertools.cycle(options.waves), strict=False)
    for (inflight, waves), repeat in itertools.product(
        loads, range(options.first_repeat, options.repeats)
    ):
        turn = repeat % len(everyone)
        for client in everyone[turn:] + everyone[:turn]:
            if time.monotonic() - begin > options.budget_s:
                return
            name = f"{api_servers}-{inflight}-{repeat}-{client.name.replace(' ', '_')}"
            row = measure(client, url, inflight, waves, options.output / name, trace)
            row |= {"api_servers": api_servers, "repeat": repeat, "waves": waves}
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
            [_pace(r) for r in good],
            [f"{r['server_tpot_ms']:.2f}" for r in good],
            ["–" if _of_part(r) else f"{r['ttft_ms'] - r['server_ttft_ms']:.0f}" for r in good],
            [f"{in_flight(r):.0f}" for r in good],
            [f"{r['tokens_per_s']:,.0f}" for r in good],
            [f"{r['cpu_s']:.0f}" for r in good],
        ]
        lines.append(f"| {' | '.join(map(str, key))} | {' | '.join(map('; '.join, cells))} |")
    return "\n".join(lines)


def _pace(row: dict[str, Any]) -> str:
    if _of_part(row):
        return "–"
    return f"{pace_ms(row):.2f} ({pace_ms(row) / pace_ms(row, 'server_') - 1:+.1%})"


def _of_part(row: dict[str, Any]) -> bool:
    """Whether the client's mean TTFT is of a part of the replies, which can't be held against all.

    So it is in rows of `mls` when it gave none for a reply that the server had merged into one chunk.
    """
    return bool(row.get("ttft_of_part"))


def trace_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each run that was traced, see `vllm_trace.py`."""
    head = (
        "| API processes | in flight | client | machine | in flight when full; all in all, by the "
        "wire | place empty, ms | sent within 1 ms | sent to app, ms | app to first byte, ms "
        "| connections of the API processes | tokens/s |"
    )
    lines = [head, "|" + "---|" * 11]
    for row in sorted(rows, key=lambda r: (r["api_servers"], r["inflight"], r["client"])):
        trace = row["trace"]
        cells = [
            *(row[key] for key in ("api_servers", "inflight", "client")),
            row.get("machine", ""),
            f"{trace['held_when_full']:,.0f}; {trace['held']:,.0f}",
            f"{trace['empty_ms']['mean']:.2f}",
            f"{trace['at_once']['mean']:.1f}",
            f"{trace['before_app_later_ms']['mean']:.0f}",
            f"{trace['app_to_first_later_ms']['mean']:.0f}",
            ", ".join(map(str, trace["connections_of_processes"])),
            f"{row['tokens_per_s']:,.0f}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, help="only print the table of these rows")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--peers", type=Path, help="holds site-aiperf and site-guidellm")
    parser.add_argument("--api-servers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--only", nargs="+", metavar="CLIENT", help="measure these clients only")
    parser.add_argument("--also", type=json.loads, default={}, metavar="JSON",
                        help="further clients: name -> settings of `run` of an mls with one rank")  # fmt: skip
    parser.add_argument("--trace", action="store_true", help="see vllm_trace.py; needs root")
    parser.add_argument("--inflight", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--first-repeat", type=int, default=0, help="when others are measured")
    parser.add_argument("--waves", type=int, nargs="+", default=[4],
                        help="requests of each place; several: one number for each of --inflight")  # fmt: skip
    parser.add_argument("--budget-s", type=float, default=1e9, help="start no run after this")
    parser.add_argument("serve", nargs="*", help="further arguments of vllm serve")
    options = parser.parse_args()
    if options.rows:
        rows = read_rows(options.rows)
        print(table(rows))
        if traced := [row for row in rows if "held" in row.get("trace", {})]:
            print(f"\n{trace_table(traced)}")
        return
    if not options.model or not options.output:
        parser.error("give --model and --output, or --rows")
    options.output.mkdir(parents=True, exist_ok=True)
    if options.trace:
        (options.output / "trace").mkdir(exist_ok=True)
        os.environ[FOLDER] = str(options.output.resolve() / "trace")
        options.serve += ["--middleware", RECORDER]
    begin = time.monotonic()
    for api_servers in options.api_servers:
        log = options.output / f"server{api_servers}.log"
        with serving(options.model, options.port, api_servers, options.serve, log) as url:
            print(f"[{time.monotonic() - begin:.0f} s] {api_servers} API processes: up", flush=True)
            rounds(options, url, api_servers, begin)
            (options.output / f"metrics{api_servers}.txt").write_text(
                requests.get(f"{url}/metrics", timeout=10).text
            )
    print(table(read_rows(options.output / "rows.jsonl")))


if __name__ == "__main__":
    main()
