"""The knee, the objectives and the goodput, on servers whose truth is known."""

from dataclasses import replace

import pytest
from tests.unit.answers import answer_text
from tests.unit.slots import ALONE_MS, TOKENS, slot_records
from tests.unit.synthetic import Load, config, table, write_repeat

from mls.analysis.answer import answer
from mls.analysis.repeat.goodput import good_requests, goodput
from mls.analysis.repeat.in_flight import timeline
from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.config.sections.checks import Slo
from mls.core.errors import UserError
from mls.core.units import NS_PER_S

pytestmark = pytest.mark.slow


def measure(tmp_path, seed, inflights=(1, 2, 4, 8, 16), repeats=3, slots=4, **keys):
    sweep = config(
        repeats=repeats,
        seed=seed,
        sweep={"inflight": list(inflights)},
        run={"max_tokens": TOKENS, "iters": 48},
        **keys,
    )
    for number, cell in enumerate(cells(sweep)):
        for repeat in range(1, repeats + 1):
            records = slot_records(cell["inflight"], (seed, number, repeat), slots)
            write_repeat(sweep, tmp_path, cell, repeat, records)
    return read_study(sweep, tmp_path)


@pytest.mark.parametrize("seed", range(10))
def test_the_answer_finds_the_4_slots_of_the_server(tmp_path, seed):
    study = measure(tmp_path, seed)
    model_answer = answer(study).models[0]
    assert model_answer.throughput.cell.cell["inflight"] == 4
    assert model_answer.knee.cell.cell["inflight"] == 4
    assert (model_answer.knee.low, model_answer.knee.high, model_answer.knee.measure) == (4, 4, [])
    assert model_answer.knee.resolved
    assert "The knee is at inflight 4" in answer_text(answer(study), study)


def test_a_knee_between_what_was_measured_is_not_resolved_and_says_what_to_measure(tmp_path):
    study = measure(tmp_path, 1, inflights=(2, 8, 16), slots=6)
    knee = answer(study).models[0].knee
    assert knee.cell.cell["inflight"] == 8
    assert not knee.resolved
    assert knee.measure == [6]  # 6 and 7 may do as well; 3, 4 and 5 can't, as T(n) ≤ n/2 · T(2)
    assert "measure inflight 6" in answer_text(answer(study), study)


def test_repeats_that_differ_leave_the_knee_open(tmp_path):
    sweep = config(repeats=2, sweep={"inflight": [2, 4, 8]}, run={"max_tokens": 32, "iters": 40})
    pace = {2: (1.9, 2.1), 4: (3.8, 4.2), 8: (7.8, 8.2)}
    for cell in cells(sweep):
        for repeat in (1, 2):
            itl_ms = 10 * pace[cell["inflight"]][repeat - 1]
            load = Load(places=cell["inflight"], requests=40, tokens=32, itl_ms=itl_ms)
            write_repeat(sweep, tmp_path, cell, repeat, table(load))
    study = read_study(sweep, tmp_path)
    knee = answer(study).models[0].knee
    assert not knee.resolved
    assert knee.low < knee.high
    assert "Not resolved" in answer_text(answer(study), study)


def test_throughput_that_rises_to_the_end_has_no_knee_to_tell_of(tmp_path):
    study = measure(tmp_path, 1, inflights=(1, 2, 3), slots=16)
    model_answer = answer(study).models[0]
    assert model_answer.knee.at_edge
    assert "The knee" not in answer_text(answer(study), study)
    assert "throughput was still rising" in answer_text(answer(study), study)


def test_the_most_throughput_under_an_objective(tmp_path):
    study = measure(tmp_path, 3, slo={"latency_ms": {"p95": ALONE_MS * 1.2}})
    model_answer = answer(study).models[0]
    assert model_answer.under_slo.cell.cell["inflight"] == 4
    assert model_answer.under_slo.resolved
    assert model_answer.goodput.cell.cell["inflight"] == 4
    assert "Under the objectives (latency p95 ≤ 216 ms), inflight 4 serves the most" in answer_text(
        answer(study), study
    )


def test_an_objective_that_only_little_load_meets_names_the_gap_to_measure(tmp_path):
    study = measure(
        tmp_path, 3, inflights=(4, 16), slots=12, slo={"latency_ms": {"p95": ALONE_MS * 1.2}}
    )
    choice = answer(study).models[0].under_slo
    assert choice.cell.cell["inflight"] == 4
    assert choice.measure == [5, 15]
    assert "measure inflight 5 and 15" in answer_text(answer(study), study)


def test_no_cell_meets_an_objective_that_is_too_strict(tmp_path):
    study = measure(tmp_path, 3, inflights=(1, 2), slo={"ttft_ms": {"p50": 1.0}})
    assert answer(study).models[0].under_slo.cell is None
    assert "No cell meets the objectives" in answer_text(answer(study), study)


def test_a_limit_within_the_interval_is_not_resolved(tmp_path):
    study = measure(tmp_path, 5, inflights=(1, 2))
    p95 = study.cells[1].estimates["latency_ms.p95"]
    strict = study.config.model_copy(
        update={"slo": Slo.model_validate({"latency_ms": {"p95": (p95.value + p95.high) / 2}})}
    )
    choice = answer(replace(study, config=strict)).models[0].under_slo
    assert choice.cell.cell["inflight"] == 2
    assert [cell.cell["inflight"] for cell in choice.unclear] == [2]


def test_goodput_counts_only_requests_within_every_limit():
    records = slot_records(8, 1)
    slo = Slo.model_validate({"latency_ms": {"p50": 10.0, "p95": ALONE_MS * 1.3}})
    start, end = (records[name].to_numpy() for name in ("start_ns", "end_ns"))
    expected = (end - start) / 1e6 <= ALONE_MS * 1.3  # the largest limit of each
    assert 0 < expected.sum() < len(expected)
    assert (good_requests(records, slo) == expected).all()
    figures = goodput(records, slo, timeline(records, 8))
    begin, stop = timeline(records, 8).window
    within = expected & (end > begin) & (end <= stop)
    assert figures["good.share"] == pytest.approx(expected.mean())
    rate = within.sum() * NS_PER_S / (stop - begin)
    assert figures["throughput.good_requests_per_s"] == pytest.approx(rate)
    assert figures["throughput.good_tokens_per_s"] == pytest.approx(rate * TOKENS)


def test_failed_and_unstreamed_requests_are_not_good():
    slo = Slo.model_validate({"ttft_ms": {"p95": 1e9}})
    assert not good_requests(table(Load(stream=False)), slo).any()
    assert good_requests(table(Load(failed={3: "timeout"})), slo).sum() == 39


def test_without_objectives_there_is_no_goodput(tmp_path):
    records = slot_records(2, 1)
    assert goodput(records, Slo(), timeline(records, 2)) == {}
    assert answer(measure(tmp_path, 1, inflights=(1, 2))).models[0].under_slo is None


@pytest.mark.parametrize(
    ("slo", "words"),
    [
        ({"ttft_ms": {"p96": 5}}, "slo.ttft_ms"),
        ({"ttft_ms": {}}, "at least one of p50"),
        ({"ttft_ms": {"p95": -5}}, "slo.ttft_ms"),
        ({"tfft_ms": {"p95": 5}}, "ttft_ms"),
    ],
)
def test_a_wrong_objective_is_one_sentence_with_its_key(slo, words):
    with pytest.raises(UserError, match=words):
        config(slo=slo)
