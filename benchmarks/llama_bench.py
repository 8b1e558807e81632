"""Why is llama-server slower than llama-bench? Both of one build, at the same depths, by turns.

`python -m benchmarks.llama_bench FOLDER [--depths 0,1024] [--repeats 3] [--no-repack]`, in the run
environment. FOLDER has `llama-bench` and `llama-server`. Each repeat measures each depth by
`llama-bench -d` (generation at depth + new prompt tokens, where a server's begins) and by two repeats
of `workload.kind: depth`, one after each of llama-bench's two tests: with sampling as it is by
default, and `greedy`, where the sampler takes the likeliest token and orders no others. What
separates the three figures of a test:

- server's clock against llama-bench: what the server does in a step beside the model's pass,
  sampling above all, as the column of the greedy repeat tells;
- client's clock against the server's: tokenizing, HTTP, JSON and the network.

Turns in which other processes had more than a tenth of the host's CPU time are in the CSV, and left
out of the table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from benchmarks import tables
from benchmarks.rig import RESULTS, ROOT, RigError, python_env
from mls.analysis.cell.depth import depth_figures

MODEL = ROOT / "results" / "models" / "smollm2.gguf"
MOST_OTHERS = 0.1
SAMPLING: dict[str, dict[str, object]] = {
    "default": {},
    "greedy": {"temperature": 0.0, "request_extra": {"samplers": ["top_k"], "top_k": 1}},
}
VALUES = {
    "bench": "llama-bench, tokens/s",
    "server": "server's clock, tokens/s",
    "client": "client's clock, tokens/s",
    "server_ratio": "server's clock / llama-bench",
    "client_ratio": "client's / server's clock",
    "outside_ms": "outside the server's clock, ms",
    "others": "other processes' share of the CPU",
}


def by_llama_bench(
    options: argparse.Namespace, depth: int, prompt: int, reply: int
) -> tuple[float, float]:
    """(tokens/s for a prompt or a reply, share of the CPU that others used).

    Raises `RigError` when it fails.
    """
    command = [
        str(options.folder / "llama-bench"),
        *("-m", str(options.model), "-t", str(options.threads), "-d", str(depth)),
        *("-p", str(prompt), "-n", str(reply), "-r", str(options.requests)),
        *("-fa", "auto", "-ngl", "0", "-o", "json"),
        *(("--repack", "0") if options.no_repack else ()),
    ]
    busy_s, all_s, own_s = _cpu_s()
    process = subprocess.run(command, capture_output=True, text=True)
    busy_s, all_s, own_s = (b - a for a, b in zip((busy_s, all_s, own_s), _cpu_s(), strict=True))
    if process.returncode:
        raise RigError(
            f"llama-bench ended with {process.returncode}: {process.stderr.strip()[-400:]}"
            " (an illegal instruction, -4: try --no-repack)"
        )
    return float(json.loads(process.stdout)[0]["avg_ts"]), max(busy_s - own_s, 0.0) / all_s


def _cpu_s() -> tuple[float, float, float]:
    """CPU time of the host that was used, all of it, and what children of this process used, in s."""
    host, own = psutil.cpu_times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    idle_s = host.idle + host.iowait
    return sum(host[:8]) - idle_s, sum(host[:8]), own.ru_utime + own.ru_stime


def by_server(options: argparse.Namespace, depth: int, sampling: str) -> dict[str, float]:
    """Figures of a repeat at the depth, and the share of the CPU that others used."""
    folder = RESULTS / ".build" / "llama_bench"
    shutil.rmtree(folder, ignore_errors=True)
    output, config = folder / "run", folder / "config.json"
    output.mkdir(parents=True)
    server = {"engine": "llama-server", "binary": str(options.folder / "llama-server"),
              "parallel": 1, "threads": options.threads, "gpu_layers": 0,
              "ctx": depth + options.prompt + options.reply + 256,
              "extra_args": ["--no-repack"] if options.no_repack else []}  # fmt: skip
    run = {"ranks": 1, "inflight": 1, "iters": options.requests, "warmup": 1, "cache_prompt": True,
           "max_tokens": options.reply, "endpoint": "/v1/completions"} | SAMPLING[sampling]  # fmt: skip
    whole = {"name": "llama_bench", "results": str(folder), "server": server, "run": run,
             "models": {"model": {"path": str(options.model)}},
             "workload": {"kind": "depth", "depth": depth, "prompt_tokens": options.prompt}}  # fmt: skip
    config.write_text(json.dumps(whole))
    mls = [sys.executable, "-m", "mls"]
    environment = os.environ | python_env()
    arguments = ["--config", str(config)]
    files = ["--output", str(output), "--log", str(folder / "log")]
    description = ["--output", str(folder / "models" / "model.json")]
    rank = [sys.executable, "-m", "mpi4py", "-m", "mls.worker", *arguments, "--output", str(output)]
    for command in (
        [*mls, "model", "model", *arguments, *description],
        [*mls, "serve", *arguments, *files, "--", "mpirun", "-n", "1", *rank],
    ):
        process = subprocess.run(command, env=environment, capture_output=True, text=True)
        if process.returncode:
            raise RigError(f"mls: {(process.stdout + process.stderr).strip()[-600:]}")
    verdicts = {v["check"]: v for v in json.loads((output / "run.json").read_text())["verdicts"]}
    if verdicts["depth_as_asked"]["status"] != "pass":
        raise RigError(verdicts["depth_as_asked"]["message"])
    figures = depth_figures(pq.read_table(output / "requests.parquet"))
    return figures | {"others": verdicts["quiet_host"]["measured"]}


def rows(options: argparse.Namespace, repeat: int, depth: int) -> list[dict[str, object]]:
    """One row for each test and sampling, with llama-bench's figure of the same turn."""
    behind = depth + options.prompt
    # by turns: to fill a deep context takes a minute, in which a shared host changes its pace
    read = by_llama_bench(options, depth, options.prompt, 0)
    servers = {"default": by_server(options, depth, "default")}
    generated = by_llama_bench(options, behind, 0, options.reply)
    servers["greedy"] = by_server(options, depth, "greedy")
    tests = {
        "pp": (f"pp{options.prompt} @ d{depth}", read),
        "tg": (f"tg{options.reply} @ d{behind}", generated),
    }
    records: list[dict[str, object]] = []
    for sampling, figures in servers.items():
        for kind, (test, (bench, others)) in tests.items():
            server, client = figures[f"depth.server_{kind}_per_s"], figures[f"depth.{kind}_per_s"]
            records.append(
                {
                    "repeat": repeat,
                    "test": test,
                    "sampling": sampling,
                    "bench": bench,
                    "server": server,
                    "client": client,
                    "server_ratio": server / bench,
                    "client_ratio": client / server,
                    "outside_ms": figures["depth.outside_ms"] if kind == "pp" else None,
                    "others": max(others, figures["others"]),
                }
            )
    return records


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="has llama-bench and llama-server of one build")
    parser.add_argument("--model", type=Path, default=MODEL, help="GGUF; default: the sweep's")
    parser.add_argument("--depths", default="0,1024", help="comma-separated")
    parser.add_argument("--prompt", type=int, default=128, help="new prompt tokens")
    parser.add_argument("--reply", type=int, default=32, help="tokens of a reply")
    parser.add_argument("--requests", type=int, default=5, help="of each repeat, of either")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-repack", action="store_true", help="leave the weights as they are")
    options = parser.parse_args()
    options.folder, options.model = options.folder.resolve(), options.model.resolve()
    for path in (options.model, options.folder / "llama-bench", options.folder / "llama-server"):
        if not path.exists():
            raise RigError(f"{path} is not there.")
    records: list[dict[str, object]] = []
    for repeat in range(1, options.repeats + 1):
        for depth in map(int, options.depths.split(",")):
            records += rows(options, repeat, depth)
            frame = tables.save(records, "llama_bench")  # what there is, should a later turn fail
    quiet = frame[frame["others"] <= MOST_OTHERS]
    if quiet.empty:
        raise RigError("Other processes used more than a tenth of the CPU time in every turn.")
    summary = tables.summarise(quiet, ["test", "sampling"], list(VALUES))
    title = f"Median, lowest–highest, of {len(quiet)} of {len(frame)} turns"
    tables.show(title, summary, ["test", "sampling"], VALUES)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RigError as error:
        sys.exit(f"llama_bench: {error}")
