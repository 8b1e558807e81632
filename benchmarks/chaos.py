"""Kill, terminate and interrupt each process of the pipeline at random moments; count what survives.

`python -m benchmarks.chaos [--trials N] [--targets …] [--again-every K]`. Prints one row for each
target and signal: trials, orphans (processes left 5 s after the first has ended), lost repeats (one
that had been finished is no more as it was), wrong results (a result that an undisturbed run would
not have left, or a next call that doesn't complete it). The moments come from a seed.
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
    """Exit status: 0 when nothing was left, lost or wrong. Writes `chaos.csv` after each trial."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="mls-chaos-") as folder:
        arenas = {
            whole: Arena(Path(folder) / str(whole), model.resolve(), whole)
            for whole in {target == "snakemake" for target in targets}
        }
        for number in range(trials):
            for target in targets:
                called = (number + 1) % again_every == 0
                rows.append(_trial(arenas[target == "snakemake"], target, number, called, seed))
                frame = tables.save(rows, "chaos")
    counts = ["trials", "next_calls", "orphans", "lost", "wrong"]
    table = frame.assign(trials=1).groupby(["target", "signal"], sort=False)[counts].sum()
    print(pd.concat([table, table.sum().to_frame(("all", "")).T]).to_string())
    return int(frame[["orphans", "lost", "wrong"]].to_numpy().sum() > 0)


def _trial(arena: Arena, target: str, number: int, called: bool, seed: int) -> dict[str, object]:
    """called: whether the next call is made after it."""
    sig = SIGNALS[number % len(SIGNALS)]
    trial = arena.strike(target, sig, random.Random(f"{seed}/{target}/{number}"))
    wrong = trial.wrong + (arena.again() if called else [])
    for what, found in (("orphan", trial.orphans), ("lost", trial.lost), ("wrong", wrong)):
        for text in found:
            print(f"{target} {sig.name} {number} at {trial.at:.3f}: {what}: {text}", flush=True)
    return {
        "target": target,
        "signal": sig.name,
        "number": number,
        "at": trial.at,
        "next_calls": int(called),
        "orphans": len(trial.orphans),
        "lost": int(bool(trial.lost)),
        "wrong": int(bool(wrong)),
    }


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trials", type=int, default=100, help="for each target")
    options.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    options.add_argument("--again-every", type=int, default=1, help="trials between next calls")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--model", type=Path, default=SMOLLM2)
    given = options.parse_args()
    sys.exit(main(given.trials, given.targets, given.again_every, given.seed, given.model))
