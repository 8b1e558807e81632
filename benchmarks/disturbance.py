"""How much the client beside it slows the real server.

`python -m benchmarks.disturbance`: the embedded llama.cpp server on all cores and the client on
the same cores, 1 and 4 requests in flight. The measure is the server's own: tokens over the seconds
that it spent on them, from `/metrics` before and after. The minimal client is the C++ one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

from benchmarks import tables
from benchmarks.peer_tools import PEERS, Load, install
from benchmarks.peers import MLS, run_any
from benchmarks.rig import (
    RESULTS,
    ROOT,
    RigError,
    check_machine,
    python_env,
    reference_command,
    run_client,
)
from benchmarks.runs import WORK
from benchmarks.tokenizer import make

INFLIGHT = (1, 4)
TOKENS = 64
MINIMAL = "C++ reference"
_SERVER = "MLS_SERVER"


def _model_file() -> Path:
    """The default sweep's model file, downloaded unless it is there."""
    from mls.config.parse import load_config
    from mls.server.weights.models import fetch

    config = load_config(ROOT / "config" / "config.yaml")
    name, source = next(iter(config.models.items()))
    return Path(fetch(name, source, ROOT / config.results / "models").path)


def _generation(url: str) -> tuple[float, float]:
    """(tokens, seconds spent on them) since the server's start, summed over its slots."""
    from mls.server.api import ServerApi

    metrics = ServerApi(url).metrics()
    if metrics is None:
        raise RigError(f"{url}/metrics gives nothing: the server's own timings can't be had.")
    return metrics["llamacpp:tokens_predicted_total"], metrics[
        "llamacpp:tokens_predicted_seconds_total"
    ]


def _model_name(url: str) -> str:
    from mls.server.api import ServerApi

    models = ServerApi(url).models()
    if not models:
        raise RigError(f"{url}/v1/models names no model.")
    return models[0].name


def measure(name: str, url: str, inflight: int, seconds: float) -> dict[str, object]:
    """One run of one client beside the server: the server's tokens/s in each of its slots."""
    folder = WORK / "disturbance"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cores = tuple(sorted(os.sched_getaffinity(0)))
    tokens, busy_s = _generation(url)
    if name == MINIMAL:
        port = urlparse(url).port or 80
        command = reference_command(
            port, None, inflight=inflight, duration_s=seconds, max_tokens=TOKENS
        )
        run_client(command, cores, limit_s=seconds + 120)
    else:
        load = Load(
            url=url,
            model=_model_name(url),
            inflight=inflight,
            seconds=seconds,
            requests=max(2 * inflight, int(1.5 * seconds)),
            prompt_tokens=48,
            tokens=TOKENS,
            tokenizer=make(WORK / "tokenizer"),
            folder=folder,
        )
        run_any(name, load, cores, limit_s=seconds + 240)
    more_tokens, more_busy_s = _generation(url)
    if more_busy_s <= busy_s:
        raise RigError(f"{name} had the server generate nothing.")
    return {
        "client": name,
        "inflight": inflight,
        "tokens": more_tokens - tokens,
        "server_tokens_per_s": (more_tokens - tokens) / (more_busy_s - busy_s),
    }


def main(peers: tuple[str, ...], repeats: int, seconds: float, url: str) -> None:
    """Print the table; write `disturbance.csv` and a plot for each inflight."""
    rows: list[dict[str, object]] = []
    for repeat in range(repeats):
        for inflight in INFLIGHT:
            for name in (MINIMAL, MLS, *peers):
                try:
                    rows.append({"repeat": repeat, **measure(name, url, inflight, seconds)})
                except RigError as error:
                    print(f"{name} at {inflight}: {error}", flush=True)
    frame = tables.save(rows, "disturbance")
    minimal = frame[frame["client"] == MINIMAL].set_index(["repeat", "inflight"])
    keys = frame.set_index(["repeat", "inflight"]).index
    best = minimal["server_tokens_per_s"].reindex(keys).to_numpy()
    frame["slower_percent"] = 100 * (1 - frame["server_tokens_per_s"] / best)
    frame.to_csv(RESULTS / "disturbance.csv", index=False)
    values = {
        "server_tokens_per_s": "server's tokens/s in a slot",
        "slower_percent": "slower than beside the minimal client, %",
        "tokens": "tokens",
    }
    summary = tables.summarise(frame, ["client", "inflight"], list(values))
    summary = summary.sort_values("inflight", kind="stable")
    tables.show("The server beside each client", summary, ["client", "inflight"], values)
    for inflight in INFLIGHT:
        drawing = tables.plot_bars(
            summary[summary["inflight"] == inflight],
            "client",
            "server_tokens_per_s",
            f"llama.cpp beside each client, {inflight} in flight",
            "tokens/s in a slot",
        )
        tables.save_plot(drawing, f"disturbance-{inflight}")


def _beside_a_server(arguments: list[str]) -> int:
    """Run this benchmark again as the command of `mls serve`."""
    log = WORK / "disturbance-server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "mls",
        "serve",
        "--model",
        str(_model_file()),
        "--log",
        str(log),
    ]
    command += ["--", sys.executable, "-m", "benchmarks.disturbance", *arguments]
    return subprocess.run(command, env={**os.environ, **python_env()}, cwd=ROOT).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args()
    check_machine()
    for peer in options.peers:
        install(peer)
    if _SERVER not in os.environ:
        sys.exit(_beside_a_server(sys.argv[1:]))
    main(tuple(options.peers), options.repeats, options.seconds, os.environ[_SERVER])
