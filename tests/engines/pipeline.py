"""The pipeline against one engine: its config, the run, and where its results are."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from pathlib import Path
from string import Template
from typing import Any

from tests.engines.calls import BY_ITSELF, ROOT, execute, mls, write
from tests.engines.catalogue import Engine
from tests.engines.environments import BUILD
from tests.engines.models import MODEL, describe, model_of

LOAD = {
    # 24 requests of 64 and 16 tokens; a second repeat would show a cache that is left warm
    "run": {"iters": 24, "max_tokens": 16, "warmup": 4},
    "workload": {"kind": "synthetic", "prompt_tokens": 64, "system": ""},
    "sweep": {"inflight": [4], "ranks": [2]},
    "repeats": 2,
    "environment": {"manager": "current"},
}


def run(engine: Engine, programs: Path) -> Path:
    """Run the pipeline against the engine. Returns the folder of its results.

    Raises `MissingError` where it ends without them.
    """
    folder = BUILD / "runs" / engine.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = model_of(engine, programs)
    if engine.key_variable:
        os.environ[engine.key_variable] = f"sk-{secrets.token_hex(16)}"
    if engine.gateway:
        server, around = _behind(engine, programs, folder, model)
        models: dict[str, Any] = {MODEL: {"served_as": MODEL}}
    else:
        server, around = server_section(engine, programs), []
        models = {MODEL: {"path": str(model)}}
    config = write(folder / "config.yaml", {"models": models, "server": server, **LOAD})
    pipeline = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
        *("--directory", str(folder), "--configfile", str(config), "--cores", "all"),
    ]
    execute([*around, *BY_ITSELF, *pipeline], folder / "log")
    return folder / "results"


def server_section(engine: Engine, programs: Path, file: Path = Path()) -> dict[str, Any]:
    """`server` of the config that starts the engine. file: of a gateway's configuration."""
    extra: dict[str, Any] = {"parallel": engine.parallel} if engine.parallel else {}
    command = [
        word.replace("{bin}", str(programs)).replace("{file}", str(file)) for word in engine.command
    ]
    return extra | {
        "engine": "command",
        "command": command,
        "ready": engine.ready,
        "environment": engine.variables,
        "startup_timeout_s": 600,
    }


def _behind(
    engine: Engine, programs: Path, folder: Path, model: Path
) -> tuple[dict[str, Any], list[str]]:
    """(the pipeline's server, the command around the pipeline) of a gateway to a llama-server."""
    upstream, port = _free_ports(2)
    values = {"port": port, "upstream": f"http://127.0.0.1:{upstream}", "folder": folder}
    file = folder / "gateway.conf"
    file.write_text(Template(engine.gateway).substitute(values))
    servers = {
        "upstream": {"parallel": 4, "ctx": 4096, "threads": 1, "port": upstream},
        "gateway": server_section(engine, programs, file) | {"port": port},
    }
    around = []
    for name, server in servers.items():
        keys = {"models": {MODEL: {"path": str(model)}}, "server": server}
        keys["results"] = str(folder / name)
        config = write(folder / f"{name}.yaml", keys)
        describe(config, folder / name)
        log = str(folder / f"{name}.log")
        around += mls("serve", "--die-with-parent", "--config", str(config), "--log", log, "--")
    url = f"http://127.0.0.1:{port}"
    key = {"api_key_env": engine.key_variable} if engine.key_variable else {}
    return {"url": url, "metrics_url": f"{values['upstream']}/metrics"} | key, around


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
