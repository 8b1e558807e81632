"""The peers: the installation of each, its command for the same load, its report.

Each has an environment of its own, made from the pinned list in `peers/<name>.txt`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import environments
from benchmarks.pairing import Floats
from benchmarks.rig import RESULTS, RigError

LISTS = Path(__file__).resolve().parent / "peers"
ENVIRONMENTS = RESULTS / ".build" / "peers"


@dataclass(frozen=True)
class Load:
    """The load of every peer: a closed loop on `/v1/chat/completions`, streamed."""

    url: str
    model: str
    inflight: int
    seconds: float
    requests: int  # for the peer that counts requests instead of seconds
    prompt_tokens: int
    tokens: int
    tokenizer: Path
    folder: Path


@dataclass(frozen=True)
class ClientReport:
    """A client's own figures of its requests, one value each, in ms."""

    ttft_ms: Floats
    itl_ms: Floats  # mean time between tokens of each request


@dataclass(frozen=True)
class Peer:
    name: str
    command: Callable[[Load], list[str]]
    read: Callable[[Load], ClientReport]


def _aiperf_command(load: Load) -> list[str]:
    options = {
        "--model": load.model,
        "--url": load.url,
        "--endpoint-type": "chat",
        "--concurrency": load.inflight,
        "--benchmark-duration": load.seconds,
        "--tokenizer": load.tokenizer,
        "--isl": load.prompt_tokens,
        "--osl": load.tokens,
        "--extra-inputs": "ignore_eos:true",
        "--artifact-dir": load.folder,
        "--ui": "none",
        "--random-seed": 1,
    }
    return [
        *_program("aiperf"),
        "profile",
        "--streaming",
        "--use-legacy-max-tokens",
        *_flat(options),
    ]


def _aiperf_read(load: Load) -> ClientReport:
    lines = (load.folder / "profile_export.jsonl").read_text().splitlines()
    metrics = [json.loads(line)["metrics"] for line in lines]
    return _report(
        [
            (m["time_to_first_token"]["value"], m["inter_token_latency"]["value"])
            for m in metrics
            if "time_to_first_token" in m and "inter_token_latency" in m
        ]
    )


def _guidellm_command(load: Load) -> list[str]:
    data = f"kind=synthetic_text,prompt_tokens={load.prompt_tokens},output_tokens={load.tokens}"
    options = {
        "--backend": f"kind=openai_http,target={load.url},model={load.model}",
        "--profile": f"kind=concurrent,streams={load.inflight}",
        "--constraint": f"kind=max_duration,seconds={load.seconds}",
        "--tokenizer": f"kind=hf_auto,model={load.tokenizer}",
        "--data": data,
        "--output": f"kind=json,path={load.folder / 'report.json'}",
    }
    return [*_program("guidellm"), "run", "--disable-progress", *_flat(options)]


def _guidellm_read(load: Load) -> ClientReport:
    report = json.loads((load.folder / "report.json").read_text())
    requests = report["benchmarks"][0]["requests"]["successful"]
    return _report([(r["time_to_first_token_ms"], r["inter_token_latency_ms"]) for r in requests])


def _genai_bench_command(load: Load) -> list[str]:
    options = {
        "--api-backend": "openai",
        "--api-base": load.url,
        "--api-key": "none",
        "--task": "text-to-text",
        "--api-model-name": load.model,
        "--model-tokenizer": load.tokenizer,
        "--num-concurrency": load.inflight,
        "--traffic-scenario": f"D({load.prompt_tokens},{load.tokens})",
        "--additional-request-params": '{"ignore_eos": true}',
        "--max-time-per-run": 1,
        "--max-requests-per-run": load.requests,
        "--experiment-base-dir": load.folder,
        "--experiment-folder-name": "out",
        "--log-dir": load.folder,
    }
    return [*_program("genai-bench"), "benchmark", *_flat(options)]


def _genai_bench_read(load: Load) -> ClientReport:
    files = list((load.folder / "out").glob("*_num_concurrency_*.json"))
    if len(files) != 1:
        raise RigError(f"genai-bench left {len(files)} results instead of one.")
    requests = json.loads(files[0].read_text())["individual_request_metrics"]
    complete = [r for r in requests if r["ttft"] is not None and r["tpot"] is not None]
    return _report([(1e3 * r["ttft"], 1e3 * r["tpot"]) for r in complete])


PEERS = {
    "aiperf": Peer("aiperf", _aiperf_command, _aiperf_read),
    "guidellm": Peer("guidellm", _guidellm_command, _guidellm_read),
    "genai-bench": Peer("genai-bench", _genai_bench_command, _genai_bench_read),
}


def install(name: str) -> None:
    """Make a peer's environment, unless it is there. Raises `RigError`."""
    environments.install(ENVIRONMENTS / name, LISTS / f"{name}.txt")


def _program(name: str) -> list[str]:
    return [str(ENVIRONMENTS / name / "bin" / name)]


def _flat(options: Mapping[str, object]) -> list[str]:
    return [str(part) for pair in options.items() for part in pair]


def _report(values: list[tuple[float, float]]) -> ClientReport:
    if not values:
        raise RigError("The client reports no request at all.")
    table = np.array(values, dtype=np.float64)
    return ClientReport(ttft_ms=table[:, 0], itl_ms=table[:, 1])
