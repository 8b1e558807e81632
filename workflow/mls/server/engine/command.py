"""The command line, environment and standard input of each managed engine."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from mls.config.sections.placeholders import fill
from mls.config.sections.server import Server
from mls.core.digest import PACKAGE
from mls.core.errors import UserError
from mls.host.machine import usable_cores
from mls.server.access import api_key
from mls.server.engine import speculation
from mls.server.engine.placement import ANYWHERE, Place

LOOPBACK = "127.0.0.1"
MOST_DEVICES = 128
"""Length of llama.cpp's `tensor_split`."""

# Snakemake sets these to the rule's threads, and libraries would obey them.
_THREAD_VARIABLES = (
    "GOTO_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# The option's name changed in 2026, and llama-server refuses unknown options but not variables.
_NO_MMAP = {"LLAMA_ARG_LOAD_MODE": "none", "LLAMA_ARG_NO_MMAP": "1"}


_KEY_VARIABLES = ("MLS_API_KEY", "LLAMA_API_KEY", "VLLM_API_KEY")


@dataclass(frozen=True)
class Engine:
    """A process to start. stdin: all of its standard input. The API key is in stdin or env only.

    server_argv: the server's own command line, where `argv` is that of its keeper.
    """

    argv: list[str]
    env: dict[str, str]
    stdin: bytes
    server_argv: list[str]


def engine(
    server: Server, model_file: Path, alias: str, port: int, place: Place = ANYWHERE
) -> Engine:
    """The engine that the config asks for. Raises `UserError` when it or its API key is missing.

    place: its CPUs and card.
    """
    key = api_key(server)
    threads = server.threads or usable_cores(place.cpus)
    env = {name: value for name, value in os.environ.items() if name not in _THREAD_VARIABLES}
    env |= server.environment | place.environment
    match server.engine:
        case "llama-server":
            # Never on the command line, which every user of the host can read
            secret = {"LLAMA_API_KEY": key} if key else {}
            env |= secret | (_NO_MMAP if place.own_memory else {})
            argv = _llama_server(server, model_file, alias, port, threads)
            return Engine(argv, env, b"", argv)
        case "xllamacpp":
            message = _xllamacpp(server, model_file, alias, port, threads, key, place.own_memory)
            argv = [sys.executable, "-m", "mls.server.engine.xllamacpp"]
            return Engine(argv, _with_package(env), json.dumps(message).encode(), argv)
        case "command":
            env |= dict.fromkeys(_KEY_VARIABLES, key) if key else {}
            return _with_keeper(_command(server, model_file, alias, port, threads, env), env)
        case unknown:
            assert_never(unknown)


def _with_package(env: dict[str, str]) -> dict[str, str]:
    """The environment of a child that imports this very package, however this process came by it."""
    path = os.pathsep.join([str(PACKAGE.parent), *filter(None, [env.get("PYTHONPATH")])])
    return env | {"PYTHONPATH": path}


def _with_keeper(argv: list[str], env: dict[str, str]) -> Engine:
    """The keeper of a server, which gives it this very environment."""
    message = {"argv": argv, "env": env, "parent": os.getpid()}
    keeper = [sys.executable, "-m", "mls.server.engine.keeper"]
    return Engine(keeper, _with_package(dict(os.environ)), json.dumps(message).encode(), argv)


def _command(
    server: Server, model_file: Path, alias: str, port: int, threads: int, env: dict[str, str]
) -> list[str]:
    """The words of the config's command with the values of their placeholders."""
    values = {
        "model": model_file,
        "name": alias,
        "host": server.host or LOOPBACK,
        "port": port,
        "threads": threads,
        "parallel": server.parallel,
        "ctx": server.ctx,
        "speculation": server.speculation,
    }
    program, *words = fill(server.command, values)
    path = shutil.which(program, path=env.get("PATH"))
    if path is None:
        raise UserError(
            f"server.command: {program} was not found, or is not executable; give the path of the "
            "program itself (the run's environment comes first on PATH)."
        )
    return [path, *words]


def _xllamacpp(
    server: Server,
    model_file: Path,
    alias: str,
    port: int,
    threads: int,
    key: str | None,
    own_memory: bool,
) -> dict[str, Any]:
    """`{attributes, extra_args}`: values of `xllamacpp.CommonParams`, whose names nest by dots."""
    return {
        "attributes": {
            "model.path": str(model_file),
            **({"load_mode": "LLAMA_LOAD_MODE_NONE"} if own_memory else {}),
            "model_alias": [alias],
            "hostnames": [server.host or LOOPBACK],
            "port": port,
            "api_keys": [key] if key else [],
            "n_parallel": server.parallel,
            "n_ctx": server.ctx,
            # Each slot has a fixed share of the context
            "kv_unified": False,
            # Parameters that don't fit the device are an error, not changed to fit
            "fit_params": False,
            "n_gpu_layers": server.gpu_layers,
            **_placement(server),
            **speculation.attributes(server, threads),
            "cpuparams.n_threads": threads,
            "cpuparams_batch.n_threads": threads,
            "endpoint_metrics": True,
            "endpoint_slots": True,
            "endpoint_props": True,
            # A second cache, in memory, of prompts that left their slot would be copied during the
            # measurement. Each request decides on its slot's prompt cache.
            "cache_ram_mib": 0,
            "cache_idle_slots": False,
            "ui": False,
        },
        "extra_args": server.extra_args,
    }


def _placement(server: Server) -> dict[str, Any]:
    """`xllamacpp.CommonParams` for split, attention and cache types, without the defaults.

    Enumerations have their values' names.
    """
    attributes: dict[str, Any] = {}
    if server.tensor_split:
        shares = [float(share) for share in server.tensor_split.split(",")]
        attributes["tensor_split"] = shares + [0.0] * (MOST_DEVICES - len(shares))
    if server.flash_attn != "auto":
        word = {"on": "ENABLED", "off": "DISABLED"}[server.flash_attn]
        attributes["flash_attn_type"] = f"LLAMA_FLASH_ATTN_TYPE_{word}"
    for key in ("cache_type_k", "cache_type_v"):
        kind = getattr(server, key)
        if kind != "f16":
            attributes[key] = f"GGML_TYPE_{kind.upper()}"
    return attributes


def _llama_server(
    server: Server, model_file: Path, alias: str, port: int, threads: int
) -> list[str]:
    binary = shutil.which(server.binary or "llama-server")
    if binary is None:
        raise UserError(
            f"server.binary: {server.binary} is not an executable file; give the path of "
            "llama-server."
        )
    return [
        binary,
        *("--model", str(model_file), "--alias", alias),
        *("--host", server.host or LOOPBACK, "--port", str(port)),
        *("--parallel", str(server.parallel), "--ctx-size", str(server.ctx)),
        # -1 means all layers in the config; llama-server takes any number beyond them
        *("--n-gpu-layers", str(server.gpu_layers if server.gpu_layers >= 0 else 999)),
        *(("--tensor-split", server.tensor_split) if server.tensor_split else ()),
        *("--flash-attn", server.flash_attn),
        *("--cache-type-k", server.cache_type_k, "--cache-type-v", server.cache_type_v),
        *("--threads", str(threads)),
        *speculation.options(server),
        *("--metrics", "--slots", "--props"),
        *server.extra_args,
    ]
