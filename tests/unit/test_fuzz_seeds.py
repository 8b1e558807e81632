"""The fuzzers' seeds, and every input that once showed a fault, go through their targets."""

from pathlib import Path

import pytest
from benchmarks.fuzz.targets import TARGETS

SEEDS = Path(__file__).parents[2] / "benchmarks" / "fuzz" / "seeds"


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_break_no_promise(target):
    seeds = sorted((SEEDS / target).iterdir())
    assert seeds
    for seed in seeds:
        TARGETS[target](seed.read_bytes())
