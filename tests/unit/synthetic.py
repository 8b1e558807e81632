"""Result folders for tests: records of a simulated closed loop, whose truth is known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mls.analysis.checks.registry import judge
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import RunFacts, summarize
from mls.config.axes import Cell
from mls.config.cells import cells, run_path
from mls.config.config import Config
from mls.config.parse import parse_config
from mls.config.settings import settings
from mls.core.digest import file_sha256
from mls.core.record import REQUESTS
from mls.core.run_result import CanaryReference, CanaryReport, Failure, RunResult
from mls.core.summary import RankCost
from mls.core.units import NS_PER_MS, NS_PER_US

EPOCH_NS = 8_000_000_000_000_000  # a monotonic clock after 92 days: not exact as a float
LAG_NS = 40 * NS_PER_US
NO_CHUNKS = {"chunk_ns": [], "chunk_lag_ns": [], "chunk_merged": [], "chunks": 0}
SOUND = {
    "text_characters": 80,
    "garbage_characters": 0,
    "text_compression": 1.5,
    "loop_characters": 0,
    "echoes_prompt": False,
}
"""Figures of a sound reply's text."""
EVERY = 5
"""One of so many requests is a canary."""
ALIKE = CanaryReport(
    every=EVERY,
    requests=4,
    tokens=64,
    wall_s=0.5,
    references=[
        CanaryReference(
            prompt_sha256=f"canary {number}",
            prefixes=[f"{number} {place}" for place in range(5)],
            characters=80,
            tokens=16,
            by_tokens=False,
            again="none",
            again_tokens=16,
        )
        for number in range(2)
    ],
)
"""Two canaries whose replies are alike."""
ALIKE_REPLY = {"canary_difference": "none", "canary_tokens": 16.0}
ENVIRONMENT = "0" * 64
"""Digest of the environment of every repeat."""


@dataclass(frozen=True)
class Load:
    """A closed loop of `places` on a server whose replies differ by `noise` alone."""

    places: int = 4
    requests: int = 40
    tokens: int = 16
    prompt: int = 60
    ttft_ms: float = 50.0
    itl_ms: float = 10.0
    noise: float = 0.0
    late_ms: float = 0.0
    """Time from the moment at which a place becomes free to its next start."""
    thinking: int = 0
    """Tokens of reasoning, before the answer."""
    stream: bool = True
    seed: int = 1
    failed: dict[int, str] = field(default_factory=dict)
    """Job → kind of error."""


def rows(load: Load) -> list[dict[str, Any]]:
    """One record (columns of `REQUESTS`) for each request."""
    rng = np.random.default_rng(load.seed)
    free = np.full(load.places, EPOCH_NS, np.int64)
    records = []
    for job in range(load.requests):
        place = int(free.argmin())
        scheduled = int(free[place])
        start = scheduled + round(load.late_ms * NS_PER_MS)
        pace = rng.lognormal(0, load.noise, load.tokens) if load.noise else np.ones(load.tokens)
        gaps = np.array([load.ttft_ms, *[load.itl_ms] * (load.tokens - 1)]) * pace * NS_PER_MS
        chunks = start + np.cumsum(gaps).round().astype(np.int64)
        if not load.stream:
            chunks = chunks[-1:]
        end = int(chunks[-1])
        free[place] = end
        records.append(
            {
                "request_id": f"synthetic-{job}",
                "job": job,
                "rank": 1,
                "slot": place,
                "scheduled_ns": scheduled,
                "start_ns": start,
                "connected_ns": start + 200 * NS_PER_US if job < load.places else None,
                "first_chunk_ns": int(chunks[0]),
                "last_chunk_ns": end,
                "first_answer_ns": int(chunks[min(load.thinking, len(chunks) - 1)]),
                "last_reasoning_ns": int(chunks[: load.thinking][-1]) if load.thinking else None,
                "reasoning_chunks": min(load.thinking, len(chunks)),
                "tool_call_chunks": 0,
                "end_ns": end,
                "chunk_ns": chunks.tolist(),
                "chunk_lag_ns": [LAG_NS] * len(chunks),
                "chunk_merged": [False] * len(chunks),
                "chunks": len(chunks),
                "reasoning_tokens_estimate": float(min(load.thinking, load.tokens)),
                "prompt_tokens": load.prompt,
                "completion_tokens": load.tokens,
                "cached_tokens": 0,
                "status": 200,
                "attempts": 1,
                "reconnects": 0,
                "finish_reason": "length",
                "prompt_sha256": f"prompt {job}",
                "output_sha256": f"reply {job}",
                **SOUND,
                **(ALIKE_REPLY | {"canary": job // EVERY % 2} if job % EVERY == 0 else {}),
                "server_prompt_ms": gaps[0] * 0.9 / NS_PER_MS,
                "server_predicted_ms": gaps[1:].sum() / NS_PER_MS,
            }
        )
        if job in load.failed:
            records[-1] |= _failure(load.failed[job])
    return records


def _failure(kind: str) -> dict[str, Any]:
    empty = dict.fromkeys(
        (
            *SOUND,
            "canary_difference",
            "canary_tokens",
            "output_sha256",
            "first_chunk_ns",
            "last_chunk_ns",
            "first_answer_ns",
            "last_reasoning_ns",
            "reasoning_tokens_estimate",
            "prompt_tokens",
            "completion_tokens",
            "cached_tokens",
            "server_prompt_ms",
            "server_predicted_ms",
            "finish_reason",
        )
    )
    return empty | NO_CHUNKS | {"status": 500, "error": kind, "error_text": kind}


def embeddings() -> list[dict[str, Any]]:
    """Records of embeddings: without chunks, completion tokens and the server's own times."""
    none = (
        *SOUND,
        "output_sha256",
        "first_chunk_ns",
        "last_chunk_ns",
        "first_answer_ns",
        "completion_tokens",
        "cached_tokens",
        "finish_reason",
        "server_prompt_ms",
        "server_predicted_ms",
    )
    return [row | dict.fromkeys(none) | NO_CHUNKS for row in rows(Load())]


def to_table(records: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(records, schema=REQUESTS)


def table(load: Load) -> pa.Table:
    return to_table(rows(load))


def facts(inflight: int, **values: Any) -> RunFacts:
    rank = RankCost(rank=1, host="host", requests=1, cpu_s=0.2, cpu_fraction=0.05)
    defaults: dict[str, Any] = {
        "inflight": inflight,
        "clock": "kernel",
        "per_rank": [rank],
        "metrics_before": None,
        "metrics_after": None,
    }
    return RunFacts(**defaults | values)


def config(**keys: Any) -> Config:
    """A config of two repeats at inflight 1, 2 and 4; `keys` replace the config's keys."""
    data: dict[str, Any] = {
        "name": "synthetic",
        "models": {"smollm2": {"path": "smollm2.gguf"}},
        "run": {"iters": 32, "max_tokens": 32},
        "sweep": {"inflight": [1, 2, 4]},
        "repeats": 2,
    }
    return parse_config(data | keys)


def load_of(sweep: Config, cell: Cell, repeat: int) -> Load:
    """The load of a cell: tokens take longer with each request in flight, and past 4 they queue."""
    cell_settings = settings(sweep, cell, repeat)
    inflight = cell_settings.run.inflight
    model = list(sweep.models).index(cell["model"])
    busy = min(inflight, 4)
    itl = (6.0 + 2.5 * model) * (0.55 + 0.45 * busy)
    queue = max(0, inflight - 4) * itl * cell_settings.run.max_tokens / busy
    return Load(
        places=inflight,
        requests=cell_settings.run.requests or 64,
        tokens=cell_settings.run.max_tokens,
        ttft_ms=60.0 * (0.4 + 0.6 * busy) + queue,
        itl_ms=itl * (1 + 0.02 * np.random.default_rng(cell_settings.seed).standard_normal()),
        noise=0.15,
        late_ms=0.05,
        stream=cell_settings.run.stream,
        seed=cell_settings.seed,
    )


def write_repeat(
    sweep: Config,
    results: Path,
    cell: Cell,
    repeat: int,
    records: pa.Table | None = None,
    **values: Any,
) -> Path:
    """Write `run.json` and `requests.parquet` of one repeat as a run would; returns its folder.

    values: facts of the run (`RunFacts`), by name.
    """
    cell_settings = settings(sweep, cell, repeat)
    records = table(load_of(sweep, cell, repeat)) if records is None else records
    run_facts = facts(cell_settings.run.inflight, **values)
    summary = summarize(records, run_facts)
    folder = results / "runs" / run_path(sweep, cell, repeat)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"requests.parquet": records}
    if run_facts.telemetry is not None:
        files["telemetry.parquet"] = run_facts.telemetry
    for name, data in files.items():
        pq.write_table(data, folder / name)
    result = RunResult(
        cell=cell,
        repeat=repeat,
        config={
            "name": sweep.name,
            "run": cell_settings.run.model_dump(),
            "server": cell_settings.server.model_dump(),
            "load": cell_settings.load.model_dump(),
            "workload": cell_settings.workload.model_dump(),
            "seed": cell_settings.seed,
            "model": cell_settings.model.model_dump(exclude_none=True) | {"file_sha256": "b" * 64},
        },
        environment={"digest": ENVIRONMENT, "host": "testhost"},
        server={
            "url": "http://127.0.0.1:40000",
            "before": {
                "build": "b6500-abc",
                "slots": run_facts.slots or 8,
                "ctx_per_slot": 1024,
                "metrics": run_facts.metrics_before,
            },
            "after": {"metrics": run_facts.metrics_after} if run_facts.metrics_after else {},
        },
        workload={
            "endpoint": cell_settings.run.endpoint,
            "max_tokens": cell_settings.run.max_tokens,
        },
        clock={"started_utc": "2026-01-01T00:00:00Z"},
        summary=summary,
        canaries=ALIKE,
        verdicts=judge(Evidence(summary, records, cell_settings.run, sweep.checks, canaries=ALIKE)),
        files={name: file_sha256(folder / name) for name in files},
    )
    (folder / "run.json").write_text(result.model_dump_json(indent=1))
    return folder


def write_failure(sweep: Config, results: Path, cell: Cell, repeat: int, message: str) -> None:
    folder = results / "runs" / run_path(sweep, cell, repeat)
    folder.mkdir(parents=True, exist_ok=True)
    failure = Failure(cell=cell, repeat=repeat, message=message, at_utc="2026-01-01T00:00:00Z")
    (folder / "failure.json").write_text(failure.model_dump_json())


def write_results(sweep: Config, results: Path) -> None:
    """Write all repeats of a sweep, its environment, and the probe and file of each model."""
    for cell in cells(sweep):
        for repeat in range(1, sweep.repeats + 1):
            write_repeat(sweep, results, cell, repeat)
    write_json(
        results / "environment" / "environment.json",
        {
            "python": "3.11.2",
            "mpi": {"implementation": "MPICH", "version": "5.0"},
            "host": {"cpu": "Test CPU", "cores": 2, "governor": None},
            "digest": ENVIRONMENT,
            "packages": {
                f"package-{i}": {"version": f"1.{i}", "sha256": f"{i:064x}"} for i in range(40)
            },
        },
    )
    for name in sweep.models:
        write_json(
            results / "probe" / f"{name}.json",
            {
                "health": "ok",
                "slots": 8,
                "build": "b6500-abc",
                "warnings": [f"{name}: 4 slots only"],
            },
        )
        write_json(
            results / "models" / f"{name}.json",
            {"file": f"{name}.gguf", "bytes": 98_362_432, "sha256": "b" * 64},
        )


def write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
