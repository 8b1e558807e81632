"""The ideal cache of a trace's blocks has what was sent before, to the token."""

import runpy
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.block_prompts import BLOCK, OVERHEAD, make

from mls.config.sections.load import Load
from mls.load.workload.blocks.ideal_cache import IdealCache, IdealHits
from mls.load.workload.traces import read_trace

SWEEPS = Path(__file__).parents[2] / "config" / "sweeps"

# a row's blocks are those of a path in a tree, the last one of any length
paths = st.lists(st.integers(0, 2), min_size=1, max_size=5)
prompts = st.lists(st.tuples(paths, st.integers(1, BLOCK)), min_size=1, max_size=30)


def rows_of(prompts):
    """(numbers of the blocks, tokens) of each prompt: a number for each beginning in blocks."""
    numbers = {}
    for path, last in prompts:
        blocks = [
            numbers.setdefault(tuple(path[: at + 1]), len(numbers)) for at in range(len(path))
        ]
        yield blocks, (len(path) - 1) * BLOCK + last


def hits_by_token(rows):
    """The ideal hits by sets of all beginnings, token by token; a token is its block and place."""
    known = set()
    for blocks, tokens in rows:
        places = [(at // BLOCK, at % BLOCK) for at in range(tokens)]
        beginnings = [(tuple(blocks[: block + 1]), place) for block, place in places]
        hit = next((at for at, each in enumerate(beginnings) if each not in known), tokens)
        yield min(hit, tokens - 1)
        known.update(beginnings)


@given(prompts)
def test_it_has_the_longest_beginning_that_any_earlier_prompt_shares(prompts):
    rows = list(rows_of(prompts))
    ideal = IdealHits(*zip(*rows, strict=True), BLOCK)
    assert [ideal(job) for job in range(len(rows))] == list(hits_by_token(rows))


@given(prompts)
def test_of_a_trace_that_is_sent_again_it_has_all_but_the_last_token(prompts):
    rows = list(rows_of(prompts))
    ideal = IdealHits(*zip(*rows, strict=True), BLOCK)
    again = [ideal(job) for job in range(len(rows), 2 * len(rows))]
    assert again == [tokens - 1 for _, tokens in rows]
    assert ideal(0) == 0


@given(st.lists(paths, min_size=1, max_size=30), st.integers(1, 20))
def test_a_larger_cache_has_no_less_and_one_for_all_blocks_has_all(paths, blocks):
    rows = list(rows_of((path, BLOCK) for path in paths))
    sizes = (blocks * BLOCK, (blocks + 1) * BLOCK, 5 * len(paths) * BLOCK, None)
    ideals = [IdealHits(*zip(*rows, strict=True), BLOCK, size) for size in sizes]
    for job in range(len(rows)):
        smaller, larger, whole, endless = (ideal(job) for ideal in ideals)
        assert smaller <= larger <= whole == endless


def test_the_least_recently_used_blocks_leave_the_last_ones_of_a_prompt_first():
    cache = IdealCache(10, 50)
    assert cache([1, 2, 3], 30) == 0
    assert cache([4, 5], 20) == 0  # full
    assert cache([1, 2, 6], 30) == 20  # in the place of 3, the oldest
    assert cache([1, 2, 3], 30) == 20  # 3 is new, in the place of 5, the last of the oldest prompt
    assert cache([4, 5], 20) == 10
    assert cache([7], 10) == 0


def test_a_prompt_beyond_the_cache_keeps_its_beginning():
    cache = IdealCache(10, 25)
    assert [cache([1, 2, 3, 4], 40) for _ in range(3)] == [0, 20, 20]


@pytest.fixture
def make_mooncake(monkeypatch, tmp_path):
    """The script of the sweep: (requests, rate, block) → the trace that it writes."""

    def run(*words):
        path = tmp_path / "trace.jsonl"
        monkeypatch.setattr(sys, "argv", ["make_mooncake.py", *map(str, words), str(path)])
        runpy.run_path(str(SWEEPS / "make_mooncake.py"))
        return path

    return run


def test_the_ideal_hits_of_a_thousand_prompts_are_those_of_their_texts(make_mooncake):
    trace = read_trace(Load(kind="trace", file=str(make_mooncake(1000, 20, BLOCK))), blocks=True)
    assert len(trace.blocks) == 1000 and max(map(len, trace.blocks)) == 6
    ideal = IdealHits(trace.blocks, trace.prompt_tokens.tolist(), BLOCK)
    prompt_of = make(trace)
    known, digits, total = set(), 3, 0
    for job in range(1000):
        words = prompt_of(job).text.split()
        beginnings = [hash(" ".join(words[: at + 1])) for at in range(len(words))]
        common = next((at for at, each in enumerate(beginnings) if each not in known), len(words))
        known.update(beginnings)
        # the first words of other blocks may be the same, as far as the digits of their numbers go
        assert 0 <= common - max(0, ideal(job) - OVERHEAD) < digits
        total += ideal(job)
    assert 0.5 < total / trace.prompt_tokens.sum() < 0.7


def test_the_trace_of_the_sweep_is_what_its_script_writes(make_mooncake):
    assert make_mooncake(40, 1.25, 64).read_text() == (SWEEPS / "mooncake.jsonl").read_text()
