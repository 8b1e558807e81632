"""The clients whose figures are held against vLLM's: the command of each for the same load, its result.

The load is a closed loop on `/v1/completions`, streamed, of prompts and replies of a fixed length,
none twice. AIPerf and guidellm run with packages of their own before those of vLLM.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.gpu.vllm_server import FIGURES, NAME, server_means
from mls.core.run_folder import RECORDS

PROMPT_WORDS, PROMPT_TOKENS, REPLY_TOKENS = 72, 98, 128


@dataclass(frozen=True)
class Client:
    """A client. command: of (requests in flight, requests, folder for its files).

    means: its own means by `FIGURES`, and tokens/s, from these files. packages: folder of packages
    of its own, if it has one.
    """

    name: str
    command: Callable[[int, int, Path], list[str]]
    means: Callable[[Path], dict[str, Any]]
    packages: Path | None = None

    def environment(self) -> dict[str, str]:
        if self.packages is None:
            return dict(os.environ)
        paths = [str(self.packages), os.environ.get("PYTHONPATH", "")]
        # AIPerf takes the tokenizer's folder for the name of one in a hub's cache when that is
        # offline; neither client asks a hub for a folder
        return {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths))
        }


def mls(
    ranks: int, url: str, name: str | None = None, settings: Mapping[str, Any] | None = None
) -> Client:
    """`mls run` with so many ranks. settings: further ones of `run`, with a name for them."""

    def command(inflight: int, count: int, folder: Path) -> list[str]:
        config = {
            "name": "vllm",
            "results": str(folder / "results"),
            "models": {"m": {"served_as": NAME}},
            "server": {"url": url},
            "run": {"endpoint": "/v1/completions", "iters": count, "inflight": inflight,
                    "ranks": ranks, "max_tokens": REPLY_TOKENS, "prompt_words": PROMPT_WORDS,
                    **(settings or {})},
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        return ["mpirun", "-n", str(ranks), sys.executable, "-m", "mpi4py", "-m", "mls.worker",
                "--config", str(folder / "config.json"), "--output", str(folder / "run")]  # fmt: skip

    def means(folder: Path) -> dict[str, Any]:
        result = json.loads((folder / "run" / "run.json").read_text())
        summary = result["summary"]
        own: dict[str, Any] = {name: summary[name]["mean"] for name in FIGURES}
        # without its trial and warm-up requests, which are between the readings around the process
        own |= server_means(*(result["server"][when]["metrics"] for when in ("before", "after")))
        failed = [v["check"] for v in result["verdicts"] if v["status"] == "fail"]
        return own | _of_records(folder / "run") | {
            "tokens_per_s": summary["overall"]["completion_tokens_per_s"], "failed": failed
        }  # fmt: skip

    return Client(name or f"mls, {ranks} rank{'s' if ranks > 1 else ''}", command, means)


def _of_records(run: Path) -> dict[str, Any]:
    """What the records of `mls` say beyond its summary.

    refill_ms: from the end of a reply, by the kernel, to the next request of its place.
    in_one_piece: replies whose tokens all came in one chunk.
    """
    names = ["rank", "slot", "scheduled_ns", "start_ns", "chunks"]
    table = pq.read_table(run / RECORDS, columns=names)
    rank, slot, free, start, chunks = (column.to_numpy() for column in table.columns)
    order = np.lexsort((start, slot, rank))
    place = (rank * (slot.max() + 1) + slot)[order]
    later = order[1:][place[1:] == place[:-1]]  # all but the first of each place
    gaps = (start - free)[later] / 1e6
    points = (float(value) for value in np.percentile(gaps, [50, 99, 100]))
    spread = dict(zip(("p50", "p99", "max"), points, strict=True))
    return {"refill_ms": {"mean": float(gaps.mean()), **spread},
            "in_one_piece": int((chunks == 1).sum())}  # fmt: skip


def bench(model: Path, url: str) -> Client:
    """`vllm bench serve`."""

    def command(inflight: int, count: int, folder: Path) -> list[str]:
        return [sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "serve",
                "--backend", "openai", "--base-url", url, "--endpoint", "/v1/completions",
                "--model", NAME, "--tokenizer", str(model), "--dataset-name", "random",
                "--random-input-len", str(PROMPT_TOKENS), "--random-output-len", str(REPLY_TOKENS),
                "--ignore-eos", "--num-prompts", str(count), "--max-concurrency", str(inflight),
                "--seed", _seed(), "--percentile-metrics", "ttft,tpot,itl,e2el", "--save-result",
                "--result-dir", str(folder), "--result-filename", "bench.json",
                "--disable-tqdm"]  # fmt: skip

    return Client("vllm bench serve", command, _bench_means)


def _bench_means(folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "bench.json").read_text())
    return {"ttft_ms": result["mean_ttft_ms"], "tpot_ms": result["mean_tpot_ms"],
            "latency_ms": result["mean_e2el_ms"], "tokens_per_s": result["output_throughput"]}  # fmt: skip


def aiperf(model: Path, url: str, packages: Path) -> Client:
    """AIPerf. It counts the tokens by the server's `usage`, and reads no page of metrics itself."""

    def command(inflight: int, count: int, folder: Path) -> list[str]:
        options = {
            "--model": NAME, "--url": url, "--endpoint-type": "completions",
            "--concurrency": inflight, "--request-count": count, "--num-dataset-entries": count,
            "--tokenizer": model, "--isl": PROMPT_TOKENS, "--osl": REPLY_TOKENS,
            "--extra-inputs": "ignore_eos:true", "--artifact-dir": folder, "--ui": "none",
            "--random-seed": _seed(),
            # its own rule, but of the cores that it may use, not of all that the host has
            "--workers-max": max(1, int(0.75 * len(os.sched_getaffinity(0))) - 1),
        }  # fmt: skip
        switches = ["--streaming", "--use-legacy-max-tokens", "--use-server-token-count",
                    "--no-gpu-telemetry", "--no-server-metrics"]  # fmt: skip
        return [sys.executable, "-m", "aiperf", "profile", *switches, *_flat(options)]

    return Client("AIPerf", command, _aiperf_means, packages)


def _aiperf_means(folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "profile_export_aiperf.json").read_text())
    return {"ttft_ms": result["time_to_first_token"]["avg"],
            "tpot_ms": result["inter_token_latency"]["avg"],  # its name of TPOT
            "latency_ms": result["request_latency"]["avg"],
            "tokens_per_s": result["output_token_throughput"]["avg"],
            "requests": int(result["request_count"]["avg"])}  # fmt: skip


def guidellm(model: Path, url: str, packages: Path) -> Client:
    """guidellm. Its requests ask for the tokens so far in each chunk."""

    def command(inflight: int, count: int, folder: Path) -> list[str]:
        lengths = f"prompt_tokens={PROMPT_TOKENS},output_tokens={REPLY_TOKENS}"
        options = {
            "--backend": f"kind=openai_http,target={url},model={NAME},"
                         "request_format=/v1/completions",
            "--profile": f"kind=concurrent,streams={inflight}",
            "--constraint": f"kind=max_requests,count={count}",
            "--tokenizer": f"kind=hf_auto,model={model}",
            "--data": f"kind=synthetic_text,{lengths}",
            "--seed": f"kind=static,value={_seed()}",
            "--output": f"kind=json,path={folder / 'guidellm.json'}",
        }  # fmt: skip
        return [sys.executable, "-m", "guidellm", "run", "--disable-console", *_flat(options)]

    return Client("guidellm", command, _guidellm_means, packages)


def _guidellm_means(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "guidellm.json").read_text())["benchmarks"][0]["metrics"]

    def own(name: str) -> float:
        return float(metrics[name]["successful"]["mean"])

    return {"ttft_ms": own("time_to_first_token_ms"),
            "tpot_ms": own("inter_token_latency_ms"),  # its TPOT is latency over all tokens
            "latency_ms": 1e3 * own("request_latency"),
            "tokens_per_s": own("output_tokens_per_second"),
            "requests": metrics["request_totals"]["successful"]}  # fmt: skip


def clients(
    model: Path,
    url: str,
    ranks: list[int],
    peers: Path | None,
    also: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Client]:
    """All of them, in the order of the first repeat.

    peers: holds `site-aiperf`, `site-guidellm`. also: further `mls` with one rank, see `mls`.
    """
    more = [mls(1, url, name, settings) for name, settings in (also or {}).items()]
    own = [*(mls(number, url) for number in ranks), *more, bench(model, url)]
    if peers is None:
        return own
    return [*own, aiperf(model, url, peers / "site-aiperf"),
            guidellm(model, url, peers / "site-guidellm")]  # fmt: skip


def _seed() -> str:
    """One that no run before had: the same prompts again would come from the server's cache."""
    return str(time.time_ns() % 2**31)


def _flat(options: Mapping[str, object]) -> list[str]:
    return [str(part) for pair in options.items() for part in pair]
