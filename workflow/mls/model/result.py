"""The typed result of one repeat: `run.json`. Times in ms unless the key says otherwise."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[1] = 1


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Distribution(Part):
    """Of all values pooled over ranks; everything but n is null when n is 0. `std` has n − 1."""

    n: int
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class Requests(Part):
    total: int
    ok: int
    error: int
    errors: dict[str, int]
    retries: int
    reconnects: int


class Tokens(Part):
    prompt: int
    completion: int
    cached_prompt: int


class Throughput(Part):
    """Rates within the window."""

    requests_per_s: float | None
    completion_tokens_per_s: float | None
    prompt_tokens_per_s: float | None


class Overall(Part):
    """Rates over the whole run (the seed's figures)."""

    requests_per_s: float
    completion_tokens_per_s: float


class Inflight(Part):
    asked: int
    achieved_littles_law: float | None
    achieved_time_weighted: float | None = Field(description="Within the window.")
    max: int


class ServerSide(Part):
    """The server's own word: `timings` of the replies, `/metrics` before and after."""

    predicted_per_second: Distribution
    prompt_per_second: Distribution
    busy_slots: float | None
    deferred: float | None


class RankCost(Part):
    rank: int
    host: str
    requests: int
    cpu_s: float
    cpu_fraction: float


class Client(Part):
    """What the measuring cost, and the proof that the client kept up."""

    cpu_s: float
    busiest_rank_cpu_fraction: float
    loop_lag_ms: Distribution = Field(description="Client lag of each chunk: read − arrived.")
    clock: Literal["kernel", "user"] = Field(description="Where arrival times come from.")
    merged_chunks: int = Field(description="Chunks without an arrival time of their own.")
    per_rank: list[RankCost]


class Summary(Part):
    requests: Requests
    wall_s: float
    window_s: float | None
    tokens: Tokens
    throughput: Throughput
    overall: Overall
    latency_ms: Distribution
    latency_from_scheduled_ms: Distribution
    ttft_ms: Distribution
    tpot_ms: Distribution
    itl_ms: Distribution
    lateness_ms: Distribution
    queue_ms: Distribution
    connect_ms: Distribution
    inflight: Inflight
    server: ServerSide
    client: Client
    gpu: dict[str, Any] | None


class Verdict(Part):
    check: str
    status: Literal["pass", "warn", "fail", "unknown"]
    measured: float | str | None
    threshold: float | str | None
    message: str


class RunResult(Part):
    schema_version: Literal[1] = SCHEMA_VERSION
    cell: dict[str, Any]
    repeat: int
    config: dict[str, Any] = Field(
        description="`run` and `server` as resolved for this cell, and the seed."
    )
    environment: dict[str, Any] = Field(description="Digest of environment.json, and the host.")
    server: dict[str, Any] = Field(description="`url`, `before` and `after`: the server's state.")
    workload: dict[str, Any] = Field(description="Endpoint, prompts and limits of the requests.")
    clock: dict[str, Any] = Field(description="Offsets of each rank, start of the run in UTC.")
    host: dict[str, Any] = Field(
        {},
        description="Rank 0's host around the load: `before` and `after` (counters of CPU time, steal, "
        "swap and throttling), and `server`: `managed`, `local` or `elsewhere`.",
    )
    summary: Summary
    verdicts: list[Verdict]
    files: dict[str, str] = Field(description="SHA-256 of each file beside this one.")


class Failure(Part):
    """`failure.json`: why a repeat has no result."""

    schema_version: Literal[1] = SCHEMA_VERSION
    cell: dict[str, Any]
    repeat: int
    message: str
    at_utc: str
