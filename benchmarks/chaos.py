"""Kill, terminate and interrupt each process of the pipeline at random moments; count the damage.

`python -m benchmarks.chaos [--trials N] [--targets …] [--again-every K]`. Prints one row for each
target and signal: trials; orphans (processes that outlive the first one by 5 s); lost repeats (a
finished repeat has changed); wrong results (a result differs from that of an undisturbed run, or
the next call doesn't complete it). The moments come from a seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks import tables
from benchmarks.rig import ROOT
from benchmarks.striking import SIGNALS, VICTIMS, Arena

SMOLLM2 = ROOT / "results" / "models" / "smollm2.gguf"
TARGETS = ("snakemake", *VICTIMS)


def main(trials: int, targets: list[str], again_every: int, seed: int, model: Path) -> int:
    """Exit status: 0 without orphans, losses and wrong results. Writes `chaos.csv` as it goes."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="mls-chaos-") as folder:
        arenas = {
            whole: Arena(Path(folder) / str(whole), model.resolve(), whole)
            for whole in {target == "snakemake" for target in targets}
        }
        for number in range(trials):
            for target in targets:
                next_call = (number + 1) % again_every == 0
                rows.append(_trial(arenas[target == "snakemake"], target, number, next_call, seed))
                frame = tables.save(rows, "chaos")
    counts = ["trials", "next_calls", "orphans", "lost", "wrong"]
    table = frame.assign(trials=1).groupby(["target", "signal"], sort=False)[counts].sum()
    print(pd.concat([table, table.sum().to_frame(("all", "")).T]).to_string())
    return int(frame[["orphans", "lost", "wrong"]].to_numpy().sum() > 0)


def _trial(arena: Arena, target: str, number: int, next_call: bool, seed: int) -> dict[str, object]:
    """One row of the table. next_call: whether the trial ends with the next call."""
    sig = SIGNALS[number % len(SIGNALS)]
    trial = arena.strike(target, sig, random.Random(f"{seed}/{target}/{number}"))
    wrong = trial.wrong + (arena.again() if next_call else [])
    for what, sentences in (("orphan", trial.orphans), ("lost", trial.lost), ("wrong", wrong)):
        for text in sentences:
            print(f"{target} {sig.name} {number} at {trial.at:.3f}: {what}: {text}", flush=True)
    return {
        "target": target,
        "signal": sig.name,
        "number": number,
        "at": trial.at,
        "next_calls": int(next_call),
        "orphans": len(trial.orphans),
        "lost": int(bool(trial.lost)),
        "wrong": int(bool(wrong)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="for each target")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--again-every", type=int, default=1, help="trials between next calls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, default=SMOLLM2)
    options = parser.parse_args()
    sys.exit(
        main(options.trials, options.targets, options.again_every, options.seed, options.model)
    )
