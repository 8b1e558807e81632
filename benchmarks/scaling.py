"""Cost and benefit of 1, 2, 4 and 8 ranks.

`python -m benchmarks.scaling`: the server on one core, all ranks on the others (on two cores: all
on one). Rate of unpaced replies and the time from a free place to the next request's start
(dispatch latency) for each way of handing out jobs; errors at 128 in flight; and the CPU of
ranks that have nothing to do but wait.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks import tables
from benchmarks.pairing import pair, percentiles
from benchmarks.records import Truth, read_generator
from benchmarks.rig import (
    SERVER_CORE,
    Answer,
    ClientRun,
    check_machine,
    generator_command,
    ground_truth,
    python_env,
    run_client,
)
from benchmarks.runs import WORK
from mls.core.units import NS_PER_S

RANKS = (1, 2, 4, 8)
DISPATCH = ("counter", "messages", "static")
UNPACED = Answer(ttft_ms=0, itl_ms=0, tokens=1)
PACED = Answer()
WAITING = Answer(ttft_ms=5000, itl_ms=0, tokens=1)


def _run(
    answer: Answer, ranks: int, inflight: int, **options: object
) -> tuple[Path, ClientRun, Truth]:
    folder = WORK / "scaling"
    shutil.rmtree(folder, ignore_errors=True)
    # unpaced replies are not paired, so the server keeps no records of them
    capacity = 1 if answer is UNPACED else 2 * answer.capacity(inflight, 10)
    cores = tuple(sorted(os.sched_getaffinity(0) - {SERVER_CORE}))
    with ground_truth(answer, folder / "truth", capacity) as server:
        command = generator_command(
            server.url, folder, ranks, inflight=inflight, max_tokens=answer.tokens, **options
        )
        client_run = run_client(command, cores, python_env(), limit_s=200)
        return folder, client_run, server.stop()


def _rate(ranks: int, dispatch: str, seconds: float) -> dict[str, object]:
    """Requests/s, and how long a free place waits: start − scheduled of the second half."""
    folder, _, _ = _run(UNPACED, ranks, 32, duration=seconds, warmup=32, dispatch=dispatch)
    summary = json.loads((folder / "run.json").read_text())["summary"]
    times = pq.read_table(folder / "requests.parquet", columns=["scheduled_ns", "start_ns"])
    wait_us = (times["start_ns"].to_numpy() - times["scheduled_ns"].to_numpy()) / 1e3
    p50, p99 = np.percentile(wait_us[len(wait_us) // 2 :], [50, 99])
    return {
        "requests_per_s": summary["requests"]["ok"] / summary["wall_s"],
        "errors": summary["requests"]["error"],
        "dispatch_p50_us": float(p50),
        "dispatch_p99_us": float(p99),
    }


def _accuracy(ranks: int, seconds: float) -> dict[str, object]:
    folder, _, truth = _run(PACED, ranks, 128, duration=seconds, warmup=128)
    errors = pair(truth, read_generator(folder / "requests.parquet"))
    return {
        "ttft_p99_ms": percentiles(errors.ttft_ms)["p99"],
        "gap_p99_ms": percentiles(errors.gap_ms)["p99"],
        "merged_share": errors.merged / max(1, errors.chunks),
    }


def _idle(ranks: int) -> dict[str, object]:
    """Core share of the busiest rank while all ranks wait for one answer.

    With one request for each worker all wait at their sockets. With one request in all, the other
    workers have no job left and wait for the end.
    """
    workers = max(1, ranks - 1)
    shares: dict[str, object] = {}
    for name, iters in (("idle_on_socket", workers), ("idle_without_job", 1)):
        _, client_run, truth = _run(WAITING, ranks, workers, iters=iters, warmup=0)
        begin, end = int(truth.arrival_ns.max()) + NS_PER_S, int(truth.first_ns.min())
        shares[name] = client_run.busiest_between(begin, end) / ((end - begin) / NS_PER_S)
    return shares


def main(ranks: tuple[int, ...], repeats: int, seconds: float) -> None:
    """Print the tables; write `scaling.csv`, `scaling-dispatch.csv` and a plot."""
    check_machine()
    rows: list[dict[str, object]] = []
    dispatch_rows: list[dict[str, object]] = []
    for repeat in range(repeats):
        for count in ranks:
            for dispatch in DISPATCH if count > 1 else ("auto",):
                setting = {"repeat": repeat, "ranks": count, "dispatch": dispatch}
                dispatch_rows.append({**setting, **_rate(count, dispatch, seconds)})
            rows.append(
                {"repeat": repeat, "ranks": count, **_accuracy(count, seconds), **_idle(count)}
            )
    rates = tables.save(dispatch_rows, "scaling-dispatch")
    values = {
        "requests_per_s": "requests/s",
        "dispatch_p50_us": "dispatch p50, µs",
        "dispatch_p99_us": "p99",
        "errors": "errors",
    }
    summary = tables.summarise(rates, ["ranks", "dispatch"], list(values))
    tables.show("Unpaced, 32 in flight: handing out jobs", summary, ["ranks", "dispatch"], values)
    drawing = tables.plot_lines(
        summary,
        "ranks",
        "requests_per_s",
        "dispatch",
        ("ranks", "requests/s"),
        "Unpaced replies by ranks and dispatch",
    )
    tables.save_plot(drawing, "scaling")
    values = {
        "ttft_p99_ms": "TTFT error p99, ms",
        "gap_p99_ms": "gap error p99, ms",
        "merged_share": "merged",
        "idle_on_socket": "core share, all await replies",
        "idle_without_job": "core share, nothing left to do",
    }
    summary = tables.summarise(tables.save(rows, "scaling"), ["ranks"], list(values))
    tables.show(
        "128 in flight, 10 ms apart; and idle ranks (the busiest)", summary, ["ranks"], values
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=RANKS)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    main(tuple(options.ranks), options.repeats, options.seconds)
