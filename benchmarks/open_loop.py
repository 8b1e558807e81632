"""How late an open loop's requests leave, and reach the server: `python -m benchmarks.open_loop`.

Constant, Poisson and gamma arrivals, and a trace of 1,000 arrivals at its own and at twice its
speed, each sent to the ground-truth server. Late: the generator's own record (start − scheduled).
At the server: the kernel's time of the request's last byte there − scheduled. Fit: p of a
Kolmogorov-Smirnov test of the gaps between actual starts, all ranks together, against the load's
distribution. With a burstiness of 0.5 many gaps are shorter than the lateness, which blurs them:
the schedule fits (see the tests), but the starts of several ranks need not.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from scipy import stats

from benchmarks.rig import (
    RESULTS,
    Answer,
    RigError,
    check_machine,
    generator_command,
    ground_truth,
    python_env,
    run_client,
)
from benchmarks.tables import save, show, summarise
from mls.core.units import NS_PER_S

_ANSWER = Answer(ttft_ms=50, itl_ms=10, tokens=16)
_RATE = 200.0
_BURSTINESS = 0.5
_REQUESTS = 1000
_RANKS = (1, 2, 4)
_RUN = {"inflight": 64, "iters": _REQUESTS, "max_tokens": 16, "warmup": 8}
_COLUMNS = {
    "span_s": "span, s",
    "late_p50_ms": "late p50, ms",
    "late_p99_ms": "late p99, ms",
    "late_max_ms": "late max, ms",
    "server_p99_ms": "at the server p99, ms",
    "fit_p": "fit of the starts, p",
    "cpu_share": "CPU of a core",
}


def _loads(folder: Path) -> dict[str, dict[str, object]]:
    trace = folder / "trace.csv"
    gaps = np.random.RandomState(1).standard_exponential(_REQUESTS) / _RATE
    trace.write_text("time\n" + "\n".join(f"{at:.6f}" for at in np.cumsum(gaps)) + "\n")
    return {
        "constant": {"kind": "constant", "rate": _RATE},
        "poisson": {"kind": "poisson", "rate": _RATE},
        "gamma": {"kind": "gamma", "rate": _RATE, "burstiness": _BURSTINESS},
        "trace": {"kind": "trace", "file": str(trace)},
        "trace, speed 2": {"kind": "trace", "file": str(trace), "speed": 2.0},
    }


def _measure(load: dict[str, object], ranks: int, folder: Path) -> dict[str, object]:
    config, out = folder / "config.yaml", folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    with ground_truth(_ANSWER, folder, capacity=2 * _REQUESTS) as server:
        data = {
            "models": {"server": {}},
            "server": {"url": server.url},
            "run": _RUN | {"ranks": ranks},
            "load": load,
        }
        config.write_text(yaml.safe_dump(data))
        command = generator_command(server.url, out, ranks, config=config)
        client_run = run_client(command, env=python_env())
        truth = server.stop()
    table = pq.read_table(out / "requests.parquet")
    due = table["scheduled_ns"].to_numpy()
    late = (table["start_ns"].to_numpy() - due) / 1e6
    arrivals = dict(zip(truth.ids, truth.arrival_ns.tolist(), strict=True))
    at_server = [
        (arrivals[i] - at) / 1e6
        for i, at in zip(table["request_id"].to_pylist(), due.tolist(), strict=True)
        if i in arrivals
    ]
    begin, end = int(due.min()), int(due.max())
    return {
        "requests": table.num_rows,
        "span_s": (end - begin) / 1e9,
        "late_p50_ms": float(np.percentile(late, 50)),
        "late_p99_ms": float(np.percentile(late, 99)),
        "late_max_ms": float(late.max()),
        "server_p99_ms": float(np.percentile(at_server, 99)) if at_server else float("nan"),
        "fit_p": _fit(str(load["kind"]), table["start_ns"].to_numpy()),
        "cpu_share": client_run.cpu_between(begin, end) / ((end - begin) / 1e9),
    }


def _fit(kind: str, start_ns: NDArray[np.int64]) -> float:
    """p of the fit of the gaps between starts; NaN where the gaps are not random."""
    shape = {"poisson": 1.0, "gamma": _BURSTINESS}.get(kind)
    if shape is None:
        return float("nan")
    gaps_s = np.diff(np.sort(start_ns)) / NS_PER_S
    return float(stats.kstest(gaps_s, "gamma", args=(shape, 0, 1 / (_RATE * shape))).pvalue)


def main(repeats: int) -> None:
    """Measure all, interleaved; print the medians, write results/bench/open_loop.csv."""
    check_machine()
    folder = RESULTS / ".build" / "open_loop"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for repeat in range(repeats):
        for name, load in _loads(folder).items():
            for ranks in _RANKS:
                case = {"load": name, "ranks": ranks, "repeat": repeat}
                rows.append(case | _measure(load, ranks, folder))
    frame = save(rows, "open_loop")
    by = ["load", "ranks"]
    title = f"Open loop, {_REQUESTS} requests at {_RATE:g}/s, server and client on a core each"
    show(title, summarise(frame, by, list(_COLUMNS)), by, _COLUMNS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    try:
        main(parser.parse_args().repeats)
    except RigError as error:
        raise SystemExit(f"benchmarks.open_loop: {error}") from None
