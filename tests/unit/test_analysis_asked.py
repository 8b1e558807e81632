"""The answer where cells differ in what is asked: how figures change, and no best of what is asked."""

import pytest
from tests.unit.answers import answer_text, measure
from tests.unit.synthetic import config

from mls.analysis.answer import LATENCY, answer
from mls.report.pages.page import page

pytestmark = pytest.mark.usefixtures("blank_drawings")

LENGTHS = {"prompt_words": [32, 8, 16]}
"""Of prompts, with a pace that follows them as the tests say."""


def slower_with_length(cell, repeat):
    return 10 * (1 + cell["prompt_words"] / 8) * (1 + 0.001 * repeat)


@pytest.fixture
def lengths(tmp_path):
    sweep = config(repeats=3, sweep=LENGTHS, run={"inflight": 2, "max_tokens": 32, "iters": 40})
    return measure(sweep, tmp_path, slower_with_length)


def test_no_value_of_what_is_asked_is_the_best(lengths, tmp_path):
    whole = answer(lengths)
    text = answer_text(whole, lengths)
    assert "highest" not in text and "lowest" not in text and "best" not in text
    assert text.startswith("At prompt_words 32: ")
    assert "nothing to choose from" not in text
    html = page(lengths, tmp_path)
    assert "Throughput at prompt_words 32" in html and "Highest throughput" not in html


def test_figures_change_along_the_axis_from_its_least_to_its_most(lengths):
    """Whatever the order in the config, in which the first value is the one told at length."""
    changes = answer(lengths).models[0].changes
    assert [(one.axis, one.metric) for one in changes] == [
        ("prompt_words", "throughput.completion_tokens_per_s"),
        ("prompt_words", LATENCY),
    ]
    assert [one.cell["prompt_words"] for one in changes[0].cells] == [8, 16, 32]
    # 50 ms to the first token, then 31 times 20 ms or 50 ms
    factor = (50 + 31 * 50) / (50 + 31 * 20)
    assert changes[0].ratio.value == pytest.approx(1 / factor, rel=0.02)
    assert changes[1].ratio.value == pytest.approx(factor, rel=0.02)
    assert all(one.resolved for one in changes)
    text = answer_text(answer(lengths), lengths)
    assert "From prompt_words 8 to 32, throughput changes by a factor of 0.4" in text
    assert "From prompt_words 8 to 32, p95 latency changes by a factor of 2.3" in text
    assert all(f" at {tokens}" in text for tokens in (8, 16, 32))


def test_a_change_that_its_interval_does_not_tell_from_none_is_not_resolved(tmp_path):
    sweep = config(repeats=3, sweep=LENGTHS, run={"inflight": 2, "max_tokens": 32, "iters": 40})
    study = measure(sweep, tmp_path, lambda cell, repeat: 10 * (1 + 0.1 * repeat))
    assert not any(one.resolved for one in answer(study).models[0].changes)
    text = answer_text(answer(study), study)
    assert "Not resolved: the 95 % interval of the factor between the two, " in text
    assert "changes by a factor" not in text


@pytest.fixture
def both(tmp_path):
    """Long prompts get slow at fewer in flight: the best is at 4, then at 1."""
    sweep = config(
        repeats=3,
        sweep={"prompt_words": [8, 32], "inflight": [1, 4]},
        run={"max_tokens": 32, "iters": 40},
        slo={"latency_ms": {"p95": 1000}},
    )

    def pace(cell, repeat):
        busy = cell["inflight"] ** 2 if cell["prompt_words"] == 32 else 1
        return 10 * busy * (1 + 0.001 * repeat)

    return measure(sweep, tmp_path, pace)


def test_settings_are_chosen_among_cells_that_are_asked_the_same(both):
    (one,) = answer(both).models
    assert one.asked == {"prompt_words": 8}
    assert one.throughput.cell.cell["inflight"] == 4
    assert one.throughput.compared == 1
    (other,) = one.scenarios
    assert other.asked == {"prompt_words": 32}
    assert other.throughput.cell.cell["inflight"] == other.latency.cell.cell["inflight"] == 1
    text = answer_text(answer(both), both)
    assert text.startswith("prompt_words 8: Inflight 4 is best for throughput and for latency")
    assert "At prompt_words 32, throughput is highest at inflight 1" in text
    assert "under the objectives inflight 1 serves the most" in text
    assert "From prompt_words 8 to 32, goodput" not in text  # at inflight 4 nothing is good at 32
    assert "Goodput is highest at inflight 4" in text


def test_the_change_is_that_of_one_setting(both):
    change = answer(both).models[0].changes[0]
    assert {one.cell["inflight"] for one in change.cells} == {4}
    assert change.ratio.value == pytest.approx((50 + 31 * 10) / (50 + 31 * 160), rel=0.02)


def test_where_objectives_are_met_is_said_of_each_scenario(tmp_path):
    sweep = config(
        repeats=3,
        sweep=LENGTHS,
        run={"inflight": 2, "max_tokens": 32, "iters": 40},
        slo={"latency_ms": {"p95": 1000}},
    )
    study = measure(sweep, tmp_path, slower_with_length)
    text = answer_text(answer(study), study)
    assert (
        "The objectives are met at prompt_words 8, prompt_words 16; missed at prompt_words 32."
        in text
    )
    assert "goodput" not in text and "serves the most" not in text
