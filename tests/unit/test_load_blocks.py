"""Prompts of a trace's hash ids share just the blocks that the trace shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.block_prompts import BLOCK, CALIBRATION, OVERHEAD, make, write_trace

from mls.config.sections.load import Load
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.blocks.prompts import check_blocks
from mls.load.workload.traces import read_trace


def check(trace, block_tokens=BLOCK):
    lengths = trace.prompt_tokens.tolist()
    check_blocks("t.jsonl", trace.row.tolist(), trace.blocks, lengths, CALIBRATION, block_tokens)


def shared(one, other):
    """Words that two texts have in common at their beginning."""
    pairs = zip(one.split(), other.split(), strict=False)
    return next(
        (at for at, (a, b) in enumerate(pairs) if a != b),
        min(map(len, map(str.split, (one, other)))),
    )


# Ids of a level stand for their whole path, as hashes of prefixes do
paths = st.lists(st.integers(0, 3), min_size=1, max_size=5)


@given(st.lists(st.tuples(paths, st.integers(1, BLOCK)), min_size=2, max_size=20), st.integers(0))
def test_prompts_share_the_blocks_of_the_trace_and_are_exact(tmp_path_factory, prompts, seed):
    rows = []
    for path, last in prompts:
        ids = ["/".join(map(str, path[: at + 1])) for at in range(len(path))]
        tokens = (len(path) - 1) * BLOCK + (last if len(path) > 1 else max(last, OVERHEAD + 2))
        rows.append((tokens, ids))
    trace = write_trace(tmp_path_factory.mktemp("trace"), rows)
    check(trace)
    prompt_of = make(trace, seed)
    texts = [prompt_of(job).text for job in range(len(rows))]
    digits = 1 if max(map(max, trace.blocks)) < 50 else 2
    for text, (tokens, _) in zip(texts, rows, strict=True):
        assert len(text.split()) + OVERHEAD == tokens
    for one, (tokens, ids) in zip(texts, rows, strict=True):
        for other, (others, other_ids) in zip(texts, rows, strict=True):
            blocks = sum(a == b for a, b in zip(ids, other_ids, strict=False))
            least = min(blocks * BLOCK, tokens, others) - OVERHEAD
            if blocks == 0:
                assert shared(one, other) < digits
            elif blocks < min(len(ids), len(other_ids)):
                assert least <= shared(one, other) < least + digits
            else:
                assert shared(one, other) >= least


def test_the_beginning_of_a_block_is_its_numbers_digits(tmp_path):
    """More ids than words: two that begin with one word differ at the second."""
    trace = write_trace(tmp_path, [(BLOCK, [f"block {number}"]) for number in range(3000)])
    prompt_of = make(trace)
    beginnings = {tuple(prompt_of(job).text.split()[:3]) for job in range(3000)}
    assert len(beginnings) == 3000
    first = [prompt_of(job).text.split()[0] for job in range(len(CALIBRATION.words))]
    assert sorted(first) == sorted(CALIBRATION.words)


def test_another_seed_has_other_blocks_and_the_warm_up_none_of_them(tmp_path):
    trace = write_trace(tmp_path, [(60, [7, 8, 9, 10])] * 2)
    one, other = make(trace, 1), make(trace, 2)
    assert one(0) == one(1) and one(0) != other(0)
    assert len({one(job).text for job in (-2, -1, 0)}) == 3
    assert one(-1).text.split()[:BLOCK] != one(0).text.split()[:BLOCK]


def test_rows_that_are_not_of_this_block_size_are_named(tmp_path):
    trace = write_trace(tmp_path, [(16, [1]), (33, [1, 2, 3]), (34, [1, 2])])
    with pytest.raises(
        UserError, match=r"row 3 of t.jsonl has 2 hash_ids for 34 tokens; expected 3"
    ):
        check(trace)
    with pytest.raises(
        UserError, match=r"row 2 of t.jsonl has 3 hash_ids .* expected 1 with blocks of 512"
    ):
        check(trace, 512)
    with pytest.raises(UserError, match=r"workload.block_tokens: expected at least 11, not 10"):
        check(trace, 10)


def test_a_trace_without_ids_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("time,prompt_tokens\n0,30\n")
    trace = read_trace(Load(kind="trace", file=str(path)), blocks=True)
    with pytest.raises(UserError, match="has no column hash_ids"):
        check(trace)


def test_ids_that_are_no_list_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"row 2 .* has hash_ids '1 2'; expected a list of ids"):
        write_trace(tmp_path, [(16, [1]), (16, "1 2")])


@pytest.mark.parametrize("tokens", [128, {"distribution": "uniform", "max": 9}])
def test_blocks_have_the_lengths_of_the_trace(tokens):
    with pytest.raises(ValueError, match="kind blocks needs prompt_tokens: trace"):
        Workload.model_validate({"kind": "blocks", "prompt_tokens": tokens})
