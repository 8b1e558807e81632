"""The answer for sweeps whose best cell is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.unit.answers import answer_text, measure
from tests.unit.synthetic import Load, config, load_of, table, write_repeat

from mls.analysis import intervals
from mls.analysis.answer import answer
from mls.analysis.study import read_study
from mls.config.cells import cells


def knee_at_4(cell, repeat):
    busy = cell["inflight"]
    return 10 * max(1, (busy / 4) ** 1.2) * (1 + 0.001 * repeat)


def test_a_clear_knee_is_found(tmp_path):
    sweep = config(repeats=3, sweep={"inflight": [1, 2, 4, 8]})
    study = measure(sweep, tmp_path, knee_at_4)
    model_answer = answer(study).models[0]
    assert model_answer.throughput.cell.cell["inflight"] == 4
    assert model_answer.throughput.resolved
    assert not model_answer.throughput.at_edge
    assert model_answer.latency.cell.cell["inflight"] in (1, 2, 4)
    text = answer_text(answer(study), study)
    assert "Throughput is highest at inflight 4" in text or "best for throughput" in text


def test_a_best_at_the_edge_says_that_there_may_be_more(tmp_path):
    sweep = config(repeats=3, sweep={"inflight": [1, 2, 4]})
    study = measure(sweep, tmp_path, lambda cell, r: 10 * (1 + 0.1 * cell["inflight"] + 0.001 * r))
    model_answer = answer(study).models[0]
    assert model_answer.throughput.cell.cell["inflight"] == 4
    assert model_answer.throughput.at_edge
    assert model_answer.latency.cell.cell["inflight"] == 1
    assert model_answer.latency.resolved
    assert "throughput was still rising" in answer_text(answer(study), study)
    gain = 4 * (50 + 31 * 11) / (50 + 31 * 14)
    assert model_answer.gain.value == pytest.approx(gain, rel=0.03)
    assert model_answer.gain.low < model_answer.gain.value < model_answer.gain.high


def test_overlapping_intervals_are_not_resolved(tmp_path):
    sweep = config(repeats=2, sweep={"inflight": [4, 8]})

    def noisy(cell, repeat):
        return 10 * (cell["inflight"] / 4) * (1.0 if repeat == 1 else 1.3)

    study = measure(sweep, tmp_path, noisy)
    choice = answer(study).models[0].throughput
    assert choice.resolved is False
    assert len(choice.rivals) == 1
    text = answer_text(answer(study), study)
    assert "Not resolved" in text
    assert "inflight 4 has the lowest latency" in text


def test_one_repeat_has_no_interval_and_says_so(tmp_path):
    sweep = config(repeats=1)
    study = measure(sweep, tmp_path, knee_at_4)
    model_answer = answer(study).models[0]
    assert model_answer.throughput.resolved is None
    assert "only one repeat" in answer_text(answer(study), study)
    assert "95 % interval" not in answer_text(answer(study), study)


def test_a_single_cell_has_nothing_to_choose_from(tmp_path):
    sweep = config(repeats=2, sweep={}, run={"inflight": 2, "max_tokens": 32})
    study = measure(sweep, tmp_path, knee_at_4)
    assert answer(study).models[0].throughput.resolved is None
    assert "nothing to choose from" in answer_text(answer(study), study)


def test_each_model_has_its_own_answer(tmp_path):
    models = {"one": {"path": "a"}, "two": {"path": "b"}}
    sweep = config(models=models, sweep={"model": ["one", "two"], "inflight": [1, 4]})

    def pace(cell, repeat):
        slow = 1 if cell["model"] == "one" else cell["inflight"] ** 2
        return 10 * slow * (1 + 0.001 * repeat)

    study = measure(sweep, tmp_path, pace)
    bests = {m.model: m.throughput.cell.cell["inflight"] for m in answer(study).models}
    assert bests == {"one": 4, "two": 1}
    assert "one: " in answer_text(answer(study), study)


def test_failed_cells_are_listed_and_the_rest_is_answered(tmp_path):
    sweep = config(repeats=2, sweep={"inflight": [1, 2, 4]})
    study = measure(sweep, tmp_path, knee_at_4, skip=[2])
    outcome = answer(study)
    assert [cell.cell["inflight"] for cell in outcome.failed] == [4]
    assert outcome.models[0].throughput.cell.cell["inflight"] == 2


def test_no_result_at_all(tmp_path):
    sweep = config()
    study = read_study(sweep, tmp_path)
    assert answer(study).models[0].throughput is None
    assert "No cell of smollm2 has a result." in answer_text(answer(study), study)


def test_a_cell_that_failed_a_check_is_not_the_answer(tmp_path):
    sweep = config(repeats=2, sweep={"inflight": [1, 2, 4]})
    measure(sweep, tmp_path, knee_at_4)
    for repeat in (1, 2):  # fast only because half the tokens are missing
        fake = Load(places=4, requests=40, tokens=16, itl_ms=1)
        write_repeat(sweep, tmp_path, cells(sweep)[2], repeat, table(fake))
    study = read_study(sweep, tmp_path)
    model_answer = answer(study).models[0]
    assert model_answer.throughput.cell.cell["inflight"] == 2
    assert [cell.cell["inflight"] for cell in model_answer.distrusted] == [4]
    assert "Left out of this answer" in answer_text(answer(study), study)
    assert "work as asked" in answer_text(answer(study), study)


def test_one_believable_cell_of_several_is_not_called_the_only_one_measured(tmp_path):
    sweep = config(repeats=2, sweep={"inflight": [1, 2]})
    measure(sweep, tmp_path, knee_at_4)
    for repeat in (1, 2):
        fake = Load(places=2, requests=40, tokens=16)
        write_repeat(sweep, tmp_path, cells(sweep)[1], repeat, table(fake))
    study = read_study(sweep, tmp_path)
    assert "Only one cell passed its checks" in answer_text(answer(study), study)


def test_when_every_cell_failed_a_check_the_answer_says_not_to_rely_on_it(tmp_path):
    sweep = config(repeats=2, sweep={"inflight": [2, 4]})
    study = measure(sweep, tmp_path, knee_at_4, tokens=16)
    outcome = answer(study)
    assert not outcome.models[0].trusted
    assert "Don't rely on this answer" in answer_text(outcome, study)


def test_rates_fall_back_to_whole_runs_for_all_cells_alike(tmp_path):
    sweep = config(repeats=2, sweep={"inflight": [1, 4]}, run={"iters": 4, "max_tokens": 32})
    for cell in cells(sweep):
        for repeat in (1, 2):
            write_repeat(sweep, tmp_path, cell, repeat, table(load_of(sweep, cell, repeat)))
    study = read_study(sweep, tmp_path)
    assert study.rates == "overall"  # 4 requests at inflight 4 leave no steady window
    assert answer(study).models[0].throughput.metric == "overall.completion_tokens_per_s"


def test_ratio_with_welchs_interval():
    interval = intervals.ratio([20.0, 22.0, 21.0], [10.0, 10.5, 11.0])
    assert interval.value == pytest.approx(2.0, rel=0.01)
    assert interval.low < 2.0 < interval.high
    assert intervals.ratio([2.0], [1.0]).low is None
    assert intervals.ratio([], [1.0]) is None
    assert intervals.ratio([2.0, 2.0], [1.0, 1.0]).high == 2.0


@given(
    st.lists(st.floats(1, 1000), min_size=2, max_size=8, unique=True),
    st.lists(st.floats(1, 1000), min_size=2, max_size=8, unique=True),
)
def test_the_interval_of_a_ratio_is_scipys_on_logarithms(values, base):
    interval = intervals.ratio(values, base)
    reference = stats.ttest_ind(np.log(values), np.log(base), equal_var=False).confidence_interval(
        0.95
    )
    assert np.log([interval.low, interval.high]) == pytest.approx(
        [reference.low, reference.high], rel=1e-6, abs=1e-9
    )
