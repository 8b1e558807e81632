"""Whether the search and the answer find a known knee: `python -m benchmarks.search`.

The ground-truth server serves 4 requests at once; more wait. Each seed has two searches: one for
the knee of the throughput, and one under an objective on latency that holds while no request waits.
Runs are real (`mls run`) and decisions those of `mls next`; only Snakemake is left out. Both
searches, and the answer from the same runs, must come to inflight 4.
"""

from __future__ import annotations

import argparse
import shutil
import time
from itertools import count
from pathlib import Path

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
from benchmarks.tables import save
from mls.analysis.adaptive.decision import decide
from mls.analysis.answer import answer
from mls.analysis.study import read_study
from mls.config.cells import cells, run_path
from mls.config.config import Config
from mls.config.decisions import PlannedRun, decision_path, repeats_of
from mls.config.parse import parse_config
from mls.core.files import write_json

SLOTS = 4
_ITERS = 32
_LIMIT = 1.15
"""The objective over the latency without waiting. A fifth place makes that 1.25 on average."""


def _answer(seed: int) -> Answer:
    return Answer(ttft_ms=60, itl_ms=16, tokens=16, slots=SLOTS, jitter_ms=1, seed=seed)


def _config(url: str, seed: int, goal: str, results: Path) -> dict[str, object]:
    slo = {"latency_ms": {"p95": 1e3 * _LIMIT * _answer(seed).service_s}}
    return {
        "name": goal,
        "seed": seed,
        "results": str(results),
        "models": {"truth": {}},
        "server": {"url": url},
        "run": {"ranks": 1, "iters": _ITERS, "max_tokens": 16, "prompt_words": 12},
        "search": {"high": 16},
        "repeats": "auto",
        "precision": {"min": 3, "max": 8},
        "slo": slo if goal == "objective" else {},
        "checks": {"looping_replies": 1, "same_replies": 1},  # the server has one word for all
    }


def _search(seed: int, goal: str, folder: Path) -> dict[str, object]:
    """One search on a fresh server: its row of the table."""
    shutil.rmtree(folder, ignore_errors=True)
    results = folder / "results"
    begin_s = time.monotonic()
    with ground_truth(_answer(seed), folder, capacity=50 * _ITERS) as server:
        data = _config(server.url, seed, goal, results)
        config, path = parse_config(data), folder / "config.json"
        write_json(path, data)
        (first,) = cells(config)
        runs = repeats_of(config, first)
        for round_ in count(1):
            for run in runs:
                _measure(config, path, run, results)
            decision = decide(config, results, first, round_)
            file = results / decision_path(config, decision.line, round_)
            write_json(file, decision.model_dump(mode="json"))
            runs = decision.runs
            if not runs:
                break
    study = read_study(config, results)
    model_answer = answer(study).models[0]
    estimate = model_answer.under_slo if goal == "objective" else model_answer.knee
    return {
        "seed": seed,
        "goal": goal,
        "search": decision.found,
        "stopped": decision.stopped,
        "answer": estimate.cell.cell["inflight"] if estimate and estimate.cell else None,
        "answer_resolved": bool(estimate and estimate.resolved),
        "probes": " ".join(f"{c.cell['inflight']}×{len(c.repeats)}" for c in study.cells),
        "failed_checks": " ".join(
            sorted({check for c in study.cells for check in c.checks("fail")})
        ),
        "seconds": round(time.monotonic() - begin_s),
    }


def _measure(config: Config, path: Path, run: PlannedRun, results: Path) -> None:
    url = str(config.server.url)
    output = results / "runs" / run_path(config, run.cell, run.repeat)
    command = generator_command(url, output, config=path, repeat=run.repeat)
    for axis, value in run.cell.items():
        command += ["--cell", f"{axis}={value}"]
    run_client(command, env=python_env())


def main(seeds: list[int]) -> int:
    """Print a row for each search, write `search.csv`. Exit status 1 when a search missed."""
    check_machine()
    rows = []
    for seed in seeds:
        for goal in ("knee", "objective"):
            rows.append(_search(seed, goal, RESULTS / ".build" / "search" / f"{goal}-{seed}"))
            print(*(f"{name} {value}" for name, value in rows[-1].items()), sep=", ", flush=True)
    frame = save(rows, "search")
    hits = frame.groupby("goal")[["search", "answer"]].agg(lambda values: (values == SLOTS).sum())
    print(f"\nFound {SLOTS}, of {len(seeds)} seeds:\n{hits.to_string()}")
    return 0 if (hits == len(seeds)).all().all() else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 11)))
    try:
        raise SystemExit(main(parser.parse_args().seeds))
    except RigError as error:
        raise SystemExit(f"benchmarks.search: {error}") from None
