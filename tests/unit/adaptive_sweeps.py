"""Sweeps with decisions (`repeats: auto`, `search`), measured to their end."""

import itertools

import numpy as np
from tests.unit.synthetic import Load, config, table, write_json, write_repeat

from mls.analysis.adaptive.decision import decide
from mls.config.cells import cells
from mls.config.decisions import decision_path, repeats_of


def measure(sweep, results, records):
    """Measure and decide until nothing is left to measure; returns each line's last decision.

    records: (cell, repeat) → the raw records of that run.
    """
    last = []
    for first in cells(sweep):
        runs = repeats_of(sweep, first)
        for round_ in itertools.count(1):
            for run in runs:
                write_repeat(sweep, results, run.cell, run.repeat, records(run.cell, run.repeat))
            decision = decide(sweep, results, first, round_)
            path = results / decision_path(sweep, decision.line, round_)
            write_json(path, decision.model_dump(mode="json"))
            runs = decision.runs
            if not runs:
                break
        last.append(decision)
    return last


def uneven(spread, seed=1):
    """Records of repeats whose paces (their logarithms) have that standard deviation."""

    def records(cell, repeat):
        rng = np.random.default_rng((seed, cell["inflight"], repeat))
        pace = 10 * np.exp(spread * rng.standard_normal())
        return table(Load(places=cell["inflight"], requests=40, tokens=32, itl_ms=pace))

    return records


def auto(**precision):
    return config(repeats="auto", sweep={"inflight": [2]}, precision=precision)
