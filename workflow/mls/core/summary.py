"""The figures of a repeat, as in its `run.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of a result, in which no key is unknown."""

    model_config = ConfigDict(extra="forbid")


class Distribution(Part):
    """Statistics of all ranks' values. Without values, all but n are null. `std` has n − 1."""

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
    """`total` = `ok` + `error` + `cancelled`. The client hung up on the last (`run.cancel`)."""

    total: int
    ok: int
    error: int
    cancelled: int = 0
    errors: dict[str, int]
    retries: int
    reconnects: int


class Tokens(Part):
    """Of the successful requests; null when the server doesn't say it of all of them."""

    prompt: int | None
    completion: int | None
    cached_prompt: int | None


class Media(Part):
    """Images and audio in the prompts of the successful requests; null where none had any."""

    requests: int | None = Field(None, description="Requests that had some.")
    parts: int | None = None
    bytes: int | None = Field(
        None,
        description="Without base64; null also where some were at URLs, which the client doesn't fetch.",
    )


class Cache(Part):
    """Prompt tokens from the cache, as shares of those of the successful requests."""

    share: float | None = Field(
        None, description="Of the server's; null when it doesn't say so of all of them."
    )
    ideal_share: float | None = Field(
        None,
        description="Of an ideal cache; null where the workload doesn't know what prompts share.",
    )


class Throughput(Part):
    """Rates within the window."""

    requests_per_s: float | None
    completion_tokens_per_s: float | None
    prompt_tokens_per_s: float | None


class Overall(Part):
    """Rates over the whole run, its start and its end included."""

    requests_per_s: float
    completion_tokens_per_s: float | None


class Inflight(Part):
    asked: int
    achieved_littles_law: float | None
    achieved_time_weighted: float | None = Field(description="Within the window.")
    max: int


class Speculation(Part):
    """What speculative decoding brought; null where it isn't known."""

    draft_tokens: int | None = None
    accepted_tokens: int | None = Field(
        None, description="Of these, the tokens that became part of replies."
    )
    acceptance: float | None = Field(
        None, description="Accepted over drafted tokens; null where none were drafted."
    )
    tokens_per_step: float | None = Field(
        None, description="Completion tokens over those of them that were not accepted drafts."
    )


class ServerSide(Part):
    """The server's own figures: `timings` of its replies, and `/metrics` before and after.

    The times are means over this run's successful requests (of ITL: over its samples), null where
    the server doesn't say, or says it of other requests, too.
    """

    predicted_per_second: Distribution
    prompt_per_second: Distribution
    busy_slots: float | None
    deferred: float | None = Field(description="Requests in its queue after the run.")
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    itl_ms: float | None = None
    latency_ms: float | None = None
    queue_ms: float | None = Field(None, description="Until the request is first worked on.")
    prefill_ms: float | None = Field(None, description="From there to the first token.")
    decode_ms: float | None = Field(None, description="From the first token to the last one.")
    preemptions: int | None = Field(
        None, description="Requests put back during the run to make room for others."
    )
    speculation: Speculation = Field(
        Speculation(), description="By the growth of its counters during the run."
    )
    running_max: float | None = Field(
        None, description="Most requests at work, of the samples during the load (one a second)."
    )
    waiting_max: float | None = Field(None, description="Most requests in its queue, likewise.")
    kv_use_max: float | None = Field(
        None, description="Highest share of the KV cache in use, likewise."
    )


class Freed(Part):
    """How soon a slot is free after a hang-up, by the next request at the place; null where unknown."""

    n: int = Field(0, description="Requests that came next.")
    freed_ms: float | None = Field(
        None,
        description="How much longer they waited for their first token than those after complete replies, "
        "on average.",
    )
    low_ms: float | None = Field(None, description="Its 95 % interval.")
    high_ms: float | None = None
    kept_ms: float | None = Field(
        None, description="`freed_ms` of a server that generates the rests of the replies."
    )
    share: float | None = Field(
        None,
        description="The part of that, less the reading of a prompt where that may have been under way.",
    )
    share_low: float | None = Field(None, description="Its 95 % interval.")
    share_high: float | None = None


class HangUps(Part):
    """What became of the requests that were hung up on (`run.cancel`)."""

    in_reply: Freed = Field(
        Freed(),
        description="Of hang-ups after the first token; where replies come in one piece, of all.",
    )
    in_prompt: Freed = Field(Freed(), description="Of hang-ups before it.")
    generated_share: float | None = Field(
        None,
        description="Share of the rests of their replies that the server generated by its counters; null "
        "where unknown.",
    )


class RankCost(Part):
    rank: int
    host: str
    requests: int
    cpu_s: float
    cpu_fraction: float
    cpus: str | None = Field(None, description="CPUs that it may run on, such as `0-3,8`.")


class Client(Part):
    """The cost of measuring, and the evidence that the client kept up."""

    cpu_s: float
    busiest_rank_cpu_fraction: float
    loop_lag_ms: Distribution = Field(description="Client lag of each chunk: read − arrived.")
    clock: Literal["kernel", "user"] = Field(description="Where arrival times come from.")
    merged_chunks: int = Field(description="Chunks without an arrival time of their own.")
    per_rank: list[RankCost]


class Post(Part):
    """Post-processing on the ranks' cards. The times are of one reply each."""

    asked: Literal["on", "auto"]
    work: int = Field(description="Multiply-adds for each byte.")
    reason: str | None = Field(description="Why there was none (on any rank), with `auto`.")
    cards: list[str] = Field(description="`<index> <name>` of the cards used, rank by rank.")
    total_ms: Distribution
    copy_ms: Distribution
    kernel_ms: Distribution


class Gpu(Part):
    """The cards that were used, over the whole run. A figure that isn't known is null.

    Memory, power and energy are sums over the cards; other figures are of all samples of all cards.
    """

    post: Post | None
    devices: list[str]
    serving: int | None = Field(None, description="Number of cards that the server is on.")
    memory_used_mib: Distribution | None = None
    server_memory_mib: Distribution | None = Field(None, description="Of the server's processes.")
    utilization: Distribution | None = Field(None, description="Share of time with a kernel, in %.")
    power_w: Distribution | None = None
    temperature_c: Distribution | None = None
    sm_mhz: Distribution | None = None
    sm_share_of_max: float | None = Field(
        None,
        description="Of the slowest card: median SM clock of the samples in which it wasn't idle, "
        "as a share of the highest that it has.",
    )
    energy_j: float | None = None
    energy_j_per_1000_tokens: float | None = None
    throttled_share: float | None = Field(None, description="Share of samples with slowed clocks.")
    throttle_reasons: list[str] = []


class Cpu(Part):
    """All CPU packages of the server's host, over the whole run, whatever ran on them."""

    energy_j: float
    power_w: float
    energy_j_per_1000_tokens: float | None


class Sessions(Part):
    """Conversations. Tokens are those of turns after the first; null where a count is unknown."""

    total: int
    failed: int = Field(description="Ended by a request that failed; in no figure of time.")
    branches: int = Field(0, description="Begun within them, as by agents that start others.")
    duration_ms: Distribution = Field(
        description="From a conversation's first request to the end of its last reply."
    )
    waiting_ms: Distribution = Field(
        description="Of that, waiting for replies: for one at least, where branches are."
    )
    cached_share: float | None = Field(
        None, description="Share of the prompts' tokens that the server took from its cache."
    )
    anew_tokens: float | None = Field(
        None,
        description="Tokens a turn that had been in the conversation's context before, and that the "
        "server processed once more.",
    )
    anew_share: float | None = Field(
        None, description="The same, as a share of the tokens that had been there before."
    )


class Summary(Part):
    requests: Requests
    wall_s: float
    window_s: float | None
    tokens: Tokens
    cache: Cache = Cache()
    throughput: Throughput
    overall: Overall
    latency_ms: Distribution
    latency_from_scheduled_ms: Distribution
    ttft_ms: Distribution
    ttfa_ms: Distribution = Field(
        Distribution(n=0),
        description="To the first answer: content or a tool call. `n` is 0 where it is unknown, as in "
        "results of versions that did not tell it.",
    )
    tool_call_ms: Distribution = Field(
        Distribution(n=0),
        description="To the chunk with which all tool calls of the reply are whole. `n` is 0 where no reply "
        "has a whole one, and in results of versions that did not tell it.",
    )
    tpot_ms: Distribution
    reasoning_tpot_ms: Distribution = Field(
        Distribution(n=0),
        description="Of the reasoning, in replies with reasoning and an answer; `n` is 0 likewise.",
    )
    answer_tpot_ms: Distribution = Field(
        Distribution(n=0), description="Of what follows the reasoning, in the same replies."
    )
    itl_ms: Distribution
    lateness_ms: Distribution
    queue_ms: Distribution
    connect_ms: Distribution
    tokens_per_chunk: float | None = Field(
        None, description="Completion tokens a content chunk; null when unknown."
    )
    unanswered: float | None = Field(
        None,
        description="Share of the successful requests whose replies have reasoning and no answer; null "
        "where no reply has reasoning.",
    )
    speculation: Speculation = Field(
        Speculation(), description="Of the successful requests, by the `timings` of their replies."
    )
    sessions: Sessions | None = Field(None, description="Null without conversations.")
    media: Media = Media()
    inflight: Inflight
    hang_ups: HangUps | None = Field(
        None, description="Null where the client hung up on no request."
    )
    server: ServerSide
    client: Client
    gpu: Gpu | None
    cpu: Cpu | None = Field(None, description="Null where its energy isn't known.")
