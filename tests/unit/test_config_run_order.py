"""The order of the runs: blocks of repeats, cells shuffled by the seed."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.synthetic import config

from mls.config.axes import cell_key
from mls.config.cells import cells, run_order

INFLIGHTS = st.lists(st.integers(1, 64), min_size=1, max_size=8, unique=True)


@given(INFLIGHTS, st.integers(1, 5), st.integers(0, 2**31))
def test_each_block_has_every_cell_once(inflights, repeats, seed):
    sweep = config(sweep={"inflight": inflights}, repeats=repeats, seed=seed)
    order, keys = run_order(sweep), {cell_key(cell) for cell in cells(sweep)}
    assert [repeat for _, repeat in order] == sorted(list(range(1, repeats + 1)) * len(keys))
    for repeat in range(1, repeats + 1):
        assert {key for key, r in order if r == repeat} == keys
    assert run_order(sweep) == order


def test_seeds_and_blocks_differ_in_order():
    sweep = config(sweep={"inflight": [1, 2, 4, 8, 16]}, repeats=4, seed=1)
    order = [key for key, _ in run_order(sweep)]
    blocks = {tuple(order[i : i + 5]) for i in range(0, 20, 5)}
    assert len(blocks) > 1
    other = config(sweep={"inflight": [1, 2, 4, 8, 16]}, repeats=4, seed=2)
    assert [key for key, _ in run_order(other)] != order
