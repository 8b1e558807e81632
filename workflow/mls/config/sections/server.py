"""The config's `server`: what is measured, and how it is reached or started."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mls.config.sections.base import Section, refuse_keys_of_other_kinds
from mls.config.sections.placeholders import placeholders, with_clear_braces
from mls.config.sections.secrets import no_key_in_query, no_key_options, no_secret_variables
from mls.config.sections.types import (
    PATH,
    PROPORTIONS,
    EnvName,
    HeaderName,
    HostName,
    HttpUrl,
    OnOffAuto,
    Profile,
    ServerUrl,
    SpeculationKind,
    count_or,
)

_MOST_SERVERS = 256

PLACEHOLDERS = ("model", "name", "host", "port", "threads", "parallel", "ctx", "speculation")
"""Placeholders that `command` may have besides axes of the sweep."""

NO_SPECULATION = "off"
_OF_KINDS = {
    "draft": ("draft_max", "draft_min", "draft_p_min"),
    "ngram-simple": ("draft_max",),
    "ngram-map-k": ("draft_max",),
    "ngram-map-k4v": ("draft_max",),
    "ngram-mod": ("draft_max", "draft_min"),
    "ngram-cache": (),
}
"""Kinds of speculation that llama.cpp has, each with the limits of a draft that it obeys."""

SPECULATION_KEYS = (
    "speculation",
    "draft_model",
    "draft_max",
    "draft_min",
    "draft_p_min",
    "synthetic_acceptance_length",
)
"""Keys of speculative decoding."""

_LLAMA_CPP = (
    *SPECULATION_KEYS[1:],
    "profile",
    "extra_args",
    "gpu_layers",
    "tensor_split",
    "flash_attn",
    "cache_type_k",
    "cache_type_v",
)
_KEYS = {
    "xllamacpp": (*_LLAMA_CPP, "binary"),
    "llama-server": (*_LLAMA_CPP, "binary"),
    "command": ("command", "ready", "environment"),
}
"""Keys of each engine; all others are of any server."""

Policy = Literal["round_robin", "least_outstanding", "sticky"]
Fleet = Annotated[
    Annotated[int, Field(ge=1, le=_MOST_SERVERS)] | Literal["gpus", "numa"],
    count_or(_MOST_SERVERS, "gpus", "numa"),
]
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]


class Server(Section):
    engine: Literal["xllamacpp", "llama-server", "command"] = Field(
        "xllamacpp",
        description="Managed engine: llama.cpp's server from the `xllamacpp` wheel, a `llama-server` binary, or "
        "any server that a `command` starts.",
    )
    binary: str | None = Field(
        None, description="Path of the `llama-server` binary (`engine: llama-server`)."
    )
    command: Annotated[
        list[str], AfterValidator(no_key_options), AfterValidator(with_clear_braces)
    ] = Field(
        [],
        description="Words of the command that starts the server in the foreground (`engine: command`); no shell "
        "reads them. Placeholders: `{model}` (path of the model's file, or folder), `{name}` (`served_as`, else the "
        "name in `models`), `{host}`, `{port}`, `{threads}`, `{parallel}`, `{ctx}`, `{speculation}`, and axes of `sweep` that are "
        "keys nowhere else. `{{` and `}}` are literal braces.",
    )
    ready: Annotated[str, AfterValidator(no_key_in_query)] = Field(
        "/health",
        pattern=PATH,
        description="Path that the server answers with 200 when it is ready (`engine: command`).",
    )
    environment: Annotated[dict[EnvName, str], AfterValidator(no_secret_variables)] = Field(
        {},
        description="Environment variables of the server besides those that it inherits (`engine: command`). They "
        "are stored.",
    )
    reuse: Literal["repeat", "cell"] = Field(
        "repeat",
        description="What a managed server is started anew for: each `repeat`, or each `cell`, whose repeats then "
        "follow one another in one process. For servers that take minutes to start: intervals then hold what varies "
        "within a process, not from start to start. Needs a fixed number of `repeats`, and no `search`.",
    )
    url: ServerUrl | None = Field(
        None,
        description="A server that is already running; nothing is started then. Its root, with or without `/v1`; "
        "`http+unix://%2Frun%2Fllama.sock` for a Unix socket (there the kernel gives no receive timestamps).",
    )
    urls: list[ServerUrl] = Field(
        [],
        description="Instead of `url`: several servers of one model. Requests in flight are those at all of them.",
    )
    policy: Policy = Field(
        "round_robin",
        description="Which of `urls`, or of the `fleet`, a request goes to: each in turn, the one with the fewest "
        "requests of this rank outstanding, or (`sticky`) the one of its conversation.",
    )
    proxy: HttpUrl | None = Field(
        None,
        description="HTTP proxy on the way to `url`; needs `run.transport: requests`. Default: that of the "
        "environment (`http_proxy`, `https_proxy`, `all_proxy`), unless `NO_PROXY` or this host has the server.",
    )
    metrics_url: HttpUrl | None = Field(
        None,
        description="Page of metrics of the server behind `url`, where a gateway between them has none or has "
        "others. No key is sent there. Where it is on this host, the CPU time of what listens there is the "
        "server's. Default: `/metrics` of `url`.",
    )
    fleet: Fleet = Field(
        1,
        description="How many managed servers of the model run side by side and are measured as one: a number, "
        "each on its share of the CPUs; `gpus`: one for each card, which it has to itself; `numa`: one for each "
        "NUMA node, on that node's CPUs. `parallel`, `ctx` and `threads` are those of each.",
    )
    parallel: int = Field(8, ge=1, le=4096, description="Slots: requests served at once.")
    ctx: int = Field(
        8192, ge=64, description="Context in tokens of the whole server, shared out over its slots."
    )
    gpu_layers: int = Field(0, ge=-1, description="Layers on the GPU; -1: all.")
    tensor_split: str | None = Field(
        None,
        pattern=PROPORTIONS,
        description="How much of the model each card gets, in proportion: `3,1`. Default: by free memory.",
    )
    flash_attn: OnOffAuto = Field(
        "auto", description="Flash attention: `on`, `off`, or the engine's own choice."
    )
    cache_type_k: CacheType = Field("f16", description="Type of the KV cache's keys.")
    cache_type_v: CacheType = Field(
        "f16", description="Type of the KV cache's values; a quantized one needs flash attention."
    )
    speculation: SpeculationKind = Field(
        NO_SPECULATION,
        description="Speculative decoding of a managed server: `off`, `draft` (by `draft_model`), or by what the "
        "text has had already: `ngram-simple`, `ngram-map-k`, `ngram-map-k4v`, `ngram-mod`, `ngram-cache`. With "
        "`engine: command` any word, for `{speculation}` in the command.",
    )
    draft_model: str | None = Field(
        None,
        description="Name in `models` of the smaller model that drafts, of the same vocabulary (`speculation: draft`).",
    )
    draft_max: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Most tokens of a draft (of each kind but `ngram-cache`). Default: the engine's.",
    )
    draft_min: int | None = Field(
        None,
        ge=0,
        le=1024,
        description="Fewest tokens of a draft; shorter ones are not used (`draft`, `ngram-mod`). Default: the engine's.",
    )
    draft_p_min: float | None = Field(
        None,
        ge=0,
        le=1,
        description="A draft ends before a token that the draft model takes for less probable (`draft`). Default: "
        "the engine's.",
    )
    synthetic_acceptance_length: float | None = Field(
        None,
        ge=1,
        description="Have the engine accept drafts by chance instead, so that a step yields so many tokens on "
        "average, its own included: what speculation would bring at that acceptance. Replies are no longer the model's.",
    )
    profile: Profile = Field(
        "off",
        description="Run the engine under NVIDIA Nsight Systems (`nsys`: all of it) or Nsight Compute (`ncu`: "
        "the counters of 100 of its kernels), if it is installed; the profile lies beside the server's log. "
        "It costs speed: for a run of its own.",
    )
    threads: int | None = Field(
        None, ge=1, description="Compute threads. Default: all cores that the server may use."
    )
    extra_args: Annotated[list[str], AfterValidator(no_key_options)] = Field(
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
        None,
        ge=1,
        le=65535,
        description="Port of the managed server; of a `fleet`, that of the first, and the next ones for the others. "
        "Default: a free one.",
    )
    api_key_env: EnvName | None = Field(
        None,
        description="Environment variable that holds the API key. The key itself is never stored.",
    )
    headers_env: dict[HeaderName, EnvName] = Field(
        {},
        description="Headers with secrets, sent with each request: header name → environment variable that holds "
        "its value, such as `{api-key: AZURE_KEY}`. The values are never stored.",
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
        if self.policy != "round_robin" and len(self.urls) < 2 and self.fleet == 1:
            raise ValueError("`policy` goes with several `urls`, or a `fleet`")
        if self.addresses and self.fleet != 1:
            raise ValueError("`fleet` is of servers that are started here: leave it or `url` out")
        if self.addresses and self.reuse != "repeat":
            raise ValueError("`reuse` is of servers that are started here: leave it or `url` out")
        if self.metrics_url and not self.url:
            raise ValueError("`metrics_url` goes with `url`")
        if self.fleet == "gpus" and not self.gpu_layers and self.engine != "command":
            raise ValueError("`fleet: gpus` needs `gpu_layers`: -1 for all of them")
        if self.fleet == "gpus" and self.tensor_split:
            raise ValueError(
                "with `fleet: gpus` each server has one card: leave `tensor_split` out"
            )
        if self.api_key_env and "authorization" in map(str.lower, self.headers_env):
            raise ValueError("give `api_key_env` or an Authorization in `headers_env`, not both")
        if not self.addresses and self.engine == "llama-server" and not self.binary:
            raise ValueError("`binary` must be set with `engine: llama-server`")
        return self

    @model_validator(mode="after")
    def _keys_of_its_speculation(self) -> Server:
        kind = self.speculation
        if kind == NO_SPECULATION:
            return self
        if self.addresses:
            raise ValueError(
                "`speculation` is of servers that are started here: leave it or `url` out"
            )
        if self.engine == "command":
            return self
        if kind not in _OF_KINDS:
            kinds = ", ".join([NO_SPECULATION, *_OF_KINDS])
            raise ValueError(f"`speculation` must be one of {kinds}, not {kind}")
        for key in ("draft_max", "draft_min", "draft_p_min"):
            if getattr(self, key) is not None and key not in _OF_KINDS[kind]:
                raise ValueError(f"`{key}` does nothing with `speculation: {kind}`: leave it out")
        if kind == "draft" and self.draft_model is None:
            raise ValueError("`draft_model` must be set with `speculation: draft`")
        if kind == "ngram-mod" and self.draft_max is not None and self.draft_min is None:
            raise ValueError(
                "`draft_min` must be set beside `draft_max` with `speculation: ngram-mod`, which has a "
                "high one by default"
            )
        if (self.draft_max or math.inf) < (self.draft_min or 0):
            raise ValueError("`draft_min` must not be above `draft_max`")
        return self

    @model_validator(mode="after")
    def _keys_of_its_engine(self) -> Server:
        of_engines = {key for keys in _KEYS.values() for key in keys}
        always = frozenset(type(self).model_fields) - of_engines
        refuse_keys_of_other_kinds(self, self.engine, _KEYS, always, "engine")
        names = self.placeholders
        if self.engine != "command" or self.addresses:
            return self
        if not self.command:
            raise ValueError("`command` must be set with `engine: command`")
        if "port" not in names and (self.port is None or self.fleet != 1):
            raise ValueError(
                "`command` must have {port}, the port at which the server shall listen (or `port` "
                "must say at which one it does)"
            )
        for key in ("parallel", "ctx", "threads", "speculation"):
            if getattr(self, key) != type(self).model_fields[key].default and key not in names:
                raise ValueError(
                    f"`{key}` is set, and `command` passes it on to nothing: use {{{key}}} there, "
                    "or leave it out"
                )
        return self

    @property
    def addresses(self) -> list[str]:
        """URLs of the servers that are already running; empty when mls starts the server."""
        return [self.url] if self.url else self.urls

    @property
    def shared(self) -> bool:
        """Whether the repeats of a cell have one process of the server."""
        return self.reuse == "cell"

    @property
    def draft(self) -> str | None:
        """The model in `models` that drafts; None without one."""
        return self.draft_model if self.speculation == "draft" else None

    @property
    def placeholders(self) -> list[str]:
        """Names of the placeholders in `command`."""
        return placeholders(self.command)

    @property
    def starts_llama_cpp(self) -> bool:
        """Whether mls starts the server, and it is llama.cpp's for certain."""
        return not self.addresses and self.engine != "command"
