"""The check of ranks against chance: many cells, few repeats, no effect."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mls.analysis.checks.cells.ranks_alike import ranks_alike
from mls.analysis.intervals import ratios
from mls.config.sections.checks import Checks

RATE = "throughput.completion_tokens_per_s"
TTFT = "ttft_ms.mean"


@dataclass
class Cell:
    """A cell with one value of each figure for each repeat."""

    cell: dict
    figures: dict[str, list[float]]
    ok: list[int] = field(default_factory=lambda: [1, 2, 3])

    def values(self, metric):
        return self.figures[metric]


def cell_of(rng, spread, ranks, slower=1.0):
    noise = np.exp(rng.normal(0, spread, (2, 3)))
    figures = {RATE: list(1000 / slower * noise[0]), TTFT: list(50 * slower * noise[1])}
    return Cell({"inflight": 128, "ranks": ranks}, figures)


@pytest.mark.parametrize("spread", [0.03, 0.06, 0.12])
def test_cells_that_differ_by_chance_alone_rarely_fail(spread):
    rng = np.random.default_rng(20261126)
    failures = 0
    for _ in range(300):
        cells = [cell_of(rng, spread, ranks) for ranks in (2, 3, 5, 9)]
        failures += any(v.status == "fail" for v in ranks_alike(cells, RATE, Checks()))
    assert failures <= 24  # of 300; in pairs, each with its own 95 % interval, 47 to 92 failed


def test_one_worker_that_is_the_bottleneck_is_found():
    rng = np.random.default_rng(20261126)
    for _ in range(20):
        cells = [cell_of(rng, 0.04, ranks, 1.4 if ranks == 2 else 1) for ranks in (2, 3, 5, 9)]
        statuses = [v.status for v in ranks_alike(cells, RATE, Checks())]
        assert statuses[0] == "fail"


def test_what_has_a_single_repeat_is_compared_with_none_and_the_others_are():
    rng = np.random.default_rng(1)
    cells = [cell_of(rng, 0.001, ranks, 1.4 if ranks == 9 else 1) for ranks in (2, 3, 9)]
    cells[0].figures = {metric: values[:1] for metric, values in cells[0].figures.items()}
    verdicts = ranks_alike(cells, RATE, Checks())
    assert [v.status for v in verdicts] == ["unknown", "pass", "fail"]


def test_cells_that_differ_in_more_than_ranks_are_not_compared():
    rng = np.random.default_rng(1)
    cells = [cell_of(rng, 0.01, ranks) for ranks in (2, 3)]
    cells[1].cell["inflight"] = 64
    assert ranks_alike(cells, RATE, Checks()) == [None, None]


@settings(max_examples=8)  # scipy takes half a second for each
@given(st.lists(st.lists(st.floats(0.1, 1e6), min_size=2, max_size=5), min_size=2, max_size=5))
def test_intervals_of_all_ratios_are_those_of_tukey(groups):
    intervals = ratios(groups)
    with np.errstate(all="ignore"):
        expected = stats.tukey_hsd(*[np.log(own) for own in groups]).confidence_interval(0.95)
    for i, row in enumerate(intervals):
        for j, ratio in enumerate(row):
            if i != j:
                assert np.log(ratio.low) == pytest.approx(expected.low[i, j], abs=1e-6)
                assert np.log(ratio.high) == pytest.approx(expected.high[i, j], abs=1e-6)


def test_ranks_that_may_matter_are_unknown_and_the_repeats_that_would_tell_are_named():
    """Repeats that differ by 12 % leave twice the threshold within the interval: once a pass."""
    rng = np.random.default_rng(3)
    statuses = set()
    for _ in range(20):
        verdicts = ranks_alike([cell_of(rng, 0.12, ranks) for ranks in (2, 5)], RATE, Checks())
        statuses |= {verdict.status for verdict in verdicts}
        for verdict in verdicts:
            assert verdict.status != "unknown" or "repeats would tell" in verdict.message
    assert "unknown" in statuses and "pass" not in statuses
