"""The config's `run`: what one run sends, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mls.config.sections.base import Section
from mls.config.sections.secrets import no_key_in_query, no_secret_fields, no_secret_values
from mls.config.sections.types import PATH, HeaderValue, OnOffAuto, PublicHeaderName, Slug
from mls.config.sections.workload import Duration

STOPPING = ("iters", "rounds", "duration_s")
"""Keys that say when a run has sent enough."""

_REQUESTS = 64

Api = Literal[
    "chat",
    "text",
    "responses",
    "messages",
    "llama.cpp",
    "infill",
    "embeddings",
    "rerank",
    "score",
]
"""OpenAI's chat completions, its text completions and Responses, Anthropic's Messages, llama.cpp's
`/completion` and `/infill`, OpenAI's embeddings, scores of documents by Jina's API and by vLLM's."""

_BY_LAST_WORD: tuple[Api, ...] = (
    "responses",
    "messages",
    "infill",
    "embeddings",
    "rerank",
    "score",
)


class Cancel(Section):
    """Requests that the client hangs up on, as users do who close a page.

    Which these are, and when, is drawn by the repeat's seed. Requests of the warm-up and canaries
    are none of them.
    """

    share: float = Field(
        ge=0,
        le=1,
        description="Share of the requests, drawn one by one. Its axis is `cancel_share`.",
    )
    after_s: Duration = Field(
        description="Seconds from a request's start to the hanging up: a number, or a mapping as of "
        "`workload.think_s`. A request that is complete by then is like any other.",
    )

    @model_validator(mode="after")
    def _later_than_the_start(self) -> Cancel:
        if self.after_s.never:
            raise ValueError("expected after_s above 0")
        return self


class Lora(Section):
    """An adapter that llama.cpp has loaded."""

    id: int = Field(ge=0, description="Its number, in the order of `--lora` (`/lora-adapters`).")
    scale: float = Field(1, description="Factor of its effect; 0: none.", allow_inf_nan=False)


class Adapter(Section):
    """An adapter (LoRA) that some of the requests ask for, in the words of the server.

    One with neither `lora` nor `model` is what the server does by itself: llama.cpp applies all of
    its adapters then, so that the model alone is `lora: [{id: 0, scale: 0}]` there.
    """

    name: Slug = Field(description="Its name on the page.")
    weight: float = Field(
        1,
        gt=0,
        allow_inf_nan=False,
        description="How often it is drawn, against the weights of the others.",
    )
    lora: list[Lora] | None = Field(
        None,
        min_length=1,
        description="llama.cpp: what to apply, mappings of `id` and `scale`; of those left out nothing.",
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="vLLM, SGLang: the name under which it is served, sent as the model's.",
    )


class Run(Section):
    """Parameters of one run. Each may be an axis of the sweep."""

    inflight: int = Field(
        8,
        ge=1,
        le=65536,
        description="Requests outstanding, over all ranks; of conversations, sessions in flight, "
        "whose branches are further requests.",
    )
    ranks: int = Field(
        2,
        ge=1,
        le=65536,
        description="MPI ranks. Rank 0 schedules and gathers, the others work; 1: rank 0 does both (see `scheduler`).",
    )
    iters: int | None = Field(
        None,
        ge=1,
        description="Requests to send; with `rounds`, at least so many. Default, where nothing else "
        "ends the run: 64.",
    )
    rounds: int | None = Field(
        None,
        ge=1,
        description="Requests that a place sends one after another: `rounds` × `inflight` are sent "
        "(closed loop).",
    )
    duration_s: float | None = Field(
        None, gt=0, description="Hand out requests for this long, instead of `iters` and `rounds`."
    )
    warmup: int = Field(
        2, ge=0, description="Requests sent first by the whole run, and kept out of all results."
    )
    endpoint: Annotated[str, AfterValidator(no_key_in_query)] = Field(
        "/v1/chat/completions",
        pattern=PATH,
        description="Path that is POSTed to: `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, "
        "`/v1/messages`, `/completion`, `/infill`, or one whose replies have no tokens, so that throughput is "
        "in requests/s: `/v1/embeddings`, `/v1/rerank`, `/v1/score`. It may have a prefix "
        "and a query; the body is of the kind that the path's last words say.",
    )
    stream: bool = Field(True, description="Ask for a streamed reply.")
    prompt_words: int = Field(
        48,
        ge=1,
        le=100_000,
        description="Words in each generated prompt (about 1.3 tokens a word).",
    )
    max_tokens: int = Field(64, ge=1, description="Completion tokens asked for.")
    ignore_eos: bool = Field(
        True, description="Keep generating to `max_tokens` where the server knows this key."
    )
    temperature: float = Field(0.8, ge=0, description="Sampling temperature.")
    cache_prompt: bool = Field(
        False, description="Let the server reuse its prompt cache (llama.cpp's key)."
    )
    transport: Literal["epoll", "requests"] = Field(
        "epoll",
        description="`epoll` (kernel receive timestamps) or `requests` (threads; the second opinion).",
    )
    dispatch: Literal["auto", "counter", "messages", "static"] = Field(
        "auto",
        description="How ranks get their jobs: a shared counter, messages asked ahead, or shares fixed "
        "beforehand. `auto`: counter on one host, messages across hosts.",
    )
    scheduler: Literal["auto", "apart", "works"] = Field(
        "auto",
        description="Whether rank 0 only schedules (`apart`) or sends requests too (`works`; with dispatch "
        "`counter` or `static`). `auto`: it works when a host has more ranks than cores.",
    )
    reuse_connections: bool = Field(True, description="Keep connections open between requests.")
    ramp_s: float = Field(
        0,
        ge=0,
        description="Spread the first request of each place over this time, so that they don't move in step.",
    )
    timeout_s: float = Field(
        600, gt=0, description="Limit of one request, from start to last byte."
    )
    timeout_connect_s: float | None = Field(
        None,
        gt=0,
        description="Limit of opening a connection for a request, TLS included. Default, as for the "
        "next two: none but `timeout_s`.",
    )
    timeout_first_token_s: float | None = Field(
        None, gt=0, description="Limit from start to the first token of a streamed reply."
    )
    timeout_between_chunks_s: float | None = Field(
        None, gt=0, description="Limit of silence within a streamed reply, after its first token."
    )
    cancel: Cancel | None = Field(
        None,
        description="Requests that the client hangs up on. Default: none. No axis but its share (`cancel_share`).",
    )
    adapters: list[Adapter] = Field(
        [],
        description="Adapters (LoRA), of which each request (each conversation) asks for one, drawn by "
        "the repeat's seed. Default: none. No axis.",
    )
    retries: int = Field(
        2,
        ge=0,
        description="Further attempts where it is safe: no byte of the reply had come, or it was 429 or 503.",
    )
    request_extra: Annotated[dict[str, object], AfterValidator(no_secret_fields)] = Field(
        {},
        description="Further fields of each request's JSON body; `null` leaves one out. Without `max_tokens` the length goes as `max_completion_tokens`.",
    )
    request_headers: Annotated[
        dict[PublicHeaderName, HeaderValue], AfterValidator(no_secret_values)
    ] = Field(
        {},
        description="Further headers of each request. They are stored: those with a key belong in "
        "`server.headers_env`.",
    )
    keep_output: bool = Field(
        False,
        description="Keep the generated text in `requests.parquet`, and show some on the page.",
    )
    cuda_post: OnOffAuto = Field(
        "off",
        description="Work on each reply's bytes on the ranks' card: `on` needs one, `auto` uses one "
        "where there is one and says in the results why not where there is none.",
    )
    cuda_post_work: int = Field(
        4096,
        ge=8,
        le=2**32,
        multiple_of=8,
        description="Integer multiply-adds of that work for each byte.",
    )
    cuda_post_memory_mib: int = Field(
        16,
        ge=1,
        le=4096,
        description="Memory that each rank takes for it on its card, and as much pinned on the host.",
    )

    @model_validator(mode="after")
    def _stopping_rule(self) -> Run:
        for key in ("iters", "rounds"):
            if getattr(self, key) is not None and self.duration_s is not None:
                raise ValueError(f"give `{key}` or `duration_s`, not both")
        for key in ("timeout_first_token_s", "timeout_between_chunks_s"):
            if getattr(self, key) and not (self.stream and self.transport == "epoll"):
                raise ValueError(f"`{key}` needs `stream: true` and `transport: epoll`")
        if self.scheduler == "works" and self.dispatch == "messages":
            raise ValueError(
                "scheduler `works` can't go with dispatch `messages`, for which rank 0 must always be "
                "free to answer: use `counter` or `static`"
            )
        workers = self.ranks if self.scheduler == "works" else max(1, self.ranks - 1)
        if self.inflight < workers:
            raise ValueError(
                f"inflight {self.inflight} is less than the {workers} worker ranks of ranks {self.ranks}: "
                "each worker needs at least one place; raise inflight or lower ranks"
            )
        return self

    @model_validator(mode="after")
    def _adapters_apart(self) -> Run:
        names = [adapter.name for adapter in self.adapters]
        if len(set(names)) < len(names):
            raise ValueError("the names of `adapters` must be different ones")
        for key in ("lora", "model"):
            if key in self.request_extra and any(getattr(each, key) for each in self.adapters):
                raise ValueError(f"`{key}` is given in `adapters` and in `request_extra`")
        return self

    @property
    def api(self) -> Api:
        """Which API the endpoint is of, by the last words of its path: what a body looks like."""
        path = self.endpoint.partition("?")[0].rstrip("/")
        for api in _BY_LAST_WORD:
            if path.endswith(f"/{api}"):
                return api
        if path.endswith("/completion"):
            return "llama.cpp"
        text = path.endswith("/completions") and not path.endswith("/chat/completions")
        return "text" if text else "chat"

    @property
    def goes_on(self) -> bool:
        """Whether requests ask the server not to end a reply at the end of a text."""
        return bool(self.request_extra.get("ignore_eos", self.ignore_eos))

    @property
    def embeds(self) -> bool:
        """Whether replies are embeddings or scores: in one piece, without tokens of their own."""
        return self.api in ("embeddings", "rerank", "score")

    @property
    def is_native(self) -> bool:
        """Whether the endpoint is one of llama.cpp alone."""
        return self.api in ("llama.cpp", "infill")

    @property
    def chats(self) -> bool:
        """Whether prompts are messages, to which the server applies its chat template."""
        return self.api in ("chat", "responses", "messages")

    @property
    def requests(self) -> int | None:
        """Number of requests to send; None when `duration_s` stops the run."""
        if self.duration_s is not None:
            return None
        return max((self.rounds or 0) * self.inflight, self.iters or 0) or _REQUESTS
