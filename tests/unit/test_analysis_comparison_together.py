"""Many figures compared at once: a difference by chance is no change. Seeds are fixed."""

import numpy as np
import pytest

from mls.analysis.comparison import LATENCIES, Metric, change, judged_together
from mls.analysis.intervals import chance_of_more

METRICS = (Metric("throughput.completion_tokens_per_s", "Throughput", "tokens/s", True), *LATENCIES)
OWN = (0.3, 0, 0.8, 1.5, 0.2)
"""Each figure's own spread between repeats, as a multiple of `BETWEEN`."""
BETWEEN = 0.04


def repeat_figures(rng, slower, repeats):
    """[cell][metric][repeat]: the figures of a server whose pace differs between repeats."""
    figures = []
    for factor in slower:
        pace = np.log(factor) + BETWEEN * rng.standard_normal(repeats)
        noise = [pace + BETWEEN * own * rng.standard_normal(repeats) for own in OWN]
        figures.append(
            [np.exp(-x if m.higher_is_better else x) for m, x in zip(METRICS, noise, strict=True)]
        )
    return figures


def worse(slower, repeats, times=150):
    """Whether each cell has a worse figure; booleans of shape (times, cells)."""
    rng = np.random.default_rng([26, repeats, len(slower)])
    flags = []
    for _ in range(times):
        old, new = (
            repeat_figures(rng, [1] * len(slower), repeats),
            repeat_figures(rng, slower, repeats),
        )
        changes = [
            [change(m, a, b, 0.05) for m, a, b in zip(METRICS, before, after, strict=True)]
            for before, after in zip(old, new, strict=True)
        ]
        flags.append([any(c.finding == "worse" for c in own) for own in judged_together(changes)])
    return np.array(flags)


@pytest.mark.parametrize("repeats", [3, 5])
@pytest.mark.parametrize("cells", [1, 10])
def test_a_server_is_not_worse_than_itself_in_any_of_many_cells(cells, repeats):
    assert worse([1] * cells, repeats).any(axis=1).mean() <= 0.05


def test_a_server_that_is_slower_in_all_cells_is_found():
    flags = worse([1.1] * 10, 5)
    assert flags.any(axis=1).all()
    assert flags.mean() >= 0.9


def test_a_server_that_is_slower_in_one_cell_of_many_is_found_there():
    flags = worse([1.2] + [1] * 9, 5)
    assert flags[:, 0].mean() >= 0.95
    counts = flags.sum(axis=1)
    assert (flags[:, 1:].sum(axis=1)[counts > 0] / counts[counts > 0]).mean() <= 0.06


def test_what_has_no_spread_at_all():
    assert chance_of_more([2, 2], [1, 1]) == 0
    assert chance_of_more([1, 1], [1, 1]) == 0.5
    assert chance_of_more([1, 1], [2, 2]) == 1
    assert chance_of_more([1], [2, 2]) is None
