"""`repeats: auto` and `search` on servers whose truth is known: what is measured, and the stop."""

import json
import shutil

import pytest
from tests.unit.adaptive_sweeps import auto, measure, uneven
from tests.unit.pages import page
from tests.unit.slots import ALONE_MS, TOKENS, slot_records
from tests.unit.synthetic import (
    Load,
    config,
    rows,
    table,
    to_table,
    write_failure,
    write_repeat,
)

from mls.analysis.adaptive.decision import decide
from mls.analysis.answer import answer
from mls.analysis.result_sets import opened
from mls.analysis.study import read_study
from mls.config.cells import cells, parse_cell
from mls.config.decisions import decision_path, planned_runs
from mls.config.parse import parse_config
from mls.core.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("blank_drawings")]

MANY = {"max_tokens": TOKENS, "iters": 48}


def four_slots(seed):
    return lambda cell, repeat: slot_records(cell["inflight"], (seed, cell["inflight"], repeat))


def test_repeats_are_added_until_the_interval_is_narrow(tmp_path):
    sweep = auto(width=0.04, min=3, max=30)
    (last,) = measure(sweep, tmp_path, uneven(0.05))
    assert last.stopped == "width"
    ((_, numbers),) = planned_runs(sweep, tmp_path)
    assert 3 < len(numbers) < 30
    assert numbers == list(range(1, len(numbers) + 1))
    estimate = read_study(sweep, tmp_path).cells[0].estimates["throughput.completion_tokens_per_s"]
    assert (estimate.high - estimate.low) / 2 / estimate.value <= 0.04
    # one repeat fewer was not enough
    before = [(cells(sweep)[0], numbers[:-1])]
    estimate = read_study(sweep, tmp_path, before).cells[0].estimates[sweep.precision.metric]
    assert (estimate.high - estimate.low) / 2 / estimate.value > 0.04


def test_an_even_server_needs_no_more_than_the_least_repeats(tmp_path):
    (last,) = measure(auto(min=3), tmp_path, uneven(0.001))
    assert (last.round, last.stopped) == (1, "width")


def test_no_more_than_the_most_repeats_are_measured(tmp_path):
    sweep = auto(min=3, max=6, width=0.01)
    (last,) = measure(sweep, tmp_path, uneven(0.3))
    assert last.stopped == "most repeats"
    assert "after 6 repeats; ± 1 % is asked" in last.message
    assert planned_runs(sweep, tmp_path)[0][1] == [1, 2, 3, 4, 5, 6]


def test_no_more_than_the_budget_is_spent(tmp_path):
    sweep = auto(min=3, max=20, width=0.001, budget_s=40)
    (last,) = measure(sweep, tmp_path, uneven(0.2))
    assert last.stopped == "budget"
    total_s = sum(read_study(sweep, tmp_path).cells[0].values("wall_s"))
    assert 20 < total_s <= 40
    assert "budget of 40 s" in last.message


def test_a_figure_that_no_repeat_has_ends_it(tmp_path):
    sweep = auto(min=3, metric="ttft_ms.p95")
    records = table(Load(places=2, requests=40, tokens=32, stream=False))
    (last,) = measure(sweep, tmp_path, lambda cell, repeat: records)
    assert last.stopped == "unknown"


@pytest.mark.parametrize("seed", range(2))
def test_the_search_finds_what_4_slots_can_take_under_an_objective(tmp_path, seed):
    sweep = config(
        seed=seed,
        repeats="auto",
        precision={"min": 3},
        sweep={},
        run=MANY,
        search={"high": 32.0},
        slo={"latency_ms": {"p95": ALONE_MS * 1.2}},
    )
    (last,) = measure(sweep, tmp_path, four_slots(seed))
    assert (last.found, last.stopped) == (4, "found")
    inflights = [cell["inflight"] for cell, _ in planned_runs(sweep, tmp_path)]
    assert inflights == [1, 2, 4, 5, 6, 8]
    model_answer = answer(read_study(sweep, tmp_path)).models[0]
    assert model_answer.under_slo.cell.cell["inflight"] == 4
    assert model_answer.under_slo.resolved


@pytest.mark.parametrize("seed", range(2))
def test_without_objectives_the_search_finds_the_knee_at_4_slots(tmp_path, seed):
    sweep = config(
        seed=seed,
        repeats="auto",
        precision={"min": 3},
        sweep={},
        run=MANY,
        search={"high": 32.0},
    )
    (last,) = measure(sweep, tmp_path, four_slots(seed))
    assert (last.found, last.stopped) == (4, "found")
    knee = answer(read_study(sweep, tmp_path)).models[0].knee
    assert (knee.cell.cell["inflight"], knee.resolved) == (4, True)


def test_a_knee_between_doubled_values_is_measured(tmp_path):
    sweep = config(repeats="auto", precision={"min": 3}, sweep={}, run=MANY, search={"high": 64.0})
    (last,) = measure(sweep, tmp_path, lambda c, r: slot_records(c["inflight"], (r, 7), slots=6))
    assert (last.found, last.stopped) == (6, "found")


def test_throughput_that_still_rises_at_the_upper_end_is_said(tmp_path):
    sweep = config(repeats=2, sweep={}, run=MANY, search={"high": 3.0})
    (last,) = measure(sweep, tmp_path, four_slots(1))
    assert (last.found, last.stopped) == (3, "all meet")
    assert "still rises" in last.message


def wavering(cell, repeat):
    """Records of a server with half of its repeats within 350 ms at inflight 4."""
    level = {1: 0.3, 2: 0.6, 4: 0.9 + 0.2 * (repeat % 2)}.get(cell["inflight"], 2.0)
    pace = 350 * level / 32
    return table(Load(places=cell["inflight"], requests=48, tokens=32, ttft_ms=pace, itl_ms=pace))


def test_a_probe_that_stays_unclear_gets_all_its_repeats_and_is_not_resolved(tmp_path):
    sweep = config(
        repeats="auto",
        precision={"min": 3, "max": 8, "width": 0.001},
        sweep={},
        run=MANY | {"max_tokens": 32},
        search={"high": 8.0},
        slo={"latency_ms": {"p50": 350}},
    )
    (last,) = measure(sweep, tmp_path, wavering)
    repeats = {cell["inflight"]: len(numbers) for cell, numbers in planned_runs(sweep, tmp_path)}
    assert repeats[4] == 8 and repeats[1] == repeats[2] == 3
    assert last.stopped == "not resolved"
    assert {one.value: one.standing for one in last.seen}[4] == "unclear"
    assert "Inflight 4 is not resolved" in last.message


def test_even_the_least_value_may_miss(tmp_path):
    sweep = config(repeats=2, sweep={}, run=MANY, search={"high": 8.0}, slo={"ttft_ms": {"p50": 1}})
    (last,) = measure(sweep, tmp_path, four_slots(1))
    assert (last.found, last.stopped) == (None, "none meets")
    assert len(planned_runs(sweep, tmp_path)) == 1


def test_a_probe_with_too_many_errors_misses(tmp_path):
    """Failed requests have no latency, and the others alone would meet the objective."""

    def records(cell, repeat):
        errors = dict.fromkeys(range(20), "timeout") if cell["inflight"] > 2 else {}
        return table(Load(places=cell["inflight"], requests=48, tokens=16, failed=errors))

    sweep = config(
        repeats=2, sweep={}, run=MANY, search={"high": 8.0}, slo={"latency_ms": {"p95": 1e5}}
    )
    (last,) = measure(sweep, tmp_path, records)
    assert last.found == 2


def two_a_second(cell, repeat):
    """Records of evenly spaced arrivals at a server that serves one at a time, 0.5 s each."""
    free, records = 0.0, []
    for number, row in enumerate(rows(Load(places=1, requests=60, tokens=2))):
        due = number / cell["rate"]
        free = max(free, due) + 0.5
        chunk_ns = [int((free - 0.1) * 1e9), int(free * 1e9)]
        records.append(
            row
            | dict.fromkeys(("start_ns", "scheduled_ns"), int(due * 1e9))
            | dict.fromkeys(("end_ns", "last_chunk_ns"), chunk_ns[1])
            | {"first_chunk_ns": chunk_ns[0], "chunk_ns": chunk_ns, "connected_ns": None}
        )
    return to_table(records)


def test_of_a_rate_the_largest_is_found_that_the_server_keeps_up_with(tmp_path):
    sweep = config(
        repeats=2,
        sweep={},
        run={"iters": 60, "max_tokens": 2},
        load={"kind": "constant"},
        search={"axis": "rate", "low": 0.5, "high": 50.0},
    )
    (last,) = measure(sweep, tmp_path, two_a_second)
    assert last.stopped == "found"
    # the search asks for 5 %, and the server may fall behind by as much
    assert 1.9 <= last.found <= 2.2
    assert [cell["rate"] for cell, _ in planned_runs(sweep, tmp_path)][:2] == [0.5, 1]
    assert f"found rate {last.found:g}" in page(sweep, tmp_path)


def test_each_combination_of_the_other_axes_has_a_search_of_its_own(tmp_path):
    sweep = config(repeats=2, sweep={"ranks": [2, 3]}, run=MANY, search={"low": 2.0, "high": 16.0})
    first, second = measure(sweep, tmp_path, four_slots(1))
    assert (first.line["ranks"], second.line["ranks"]) == (2, 3)
    assert first.found == second.found == 4
    assert "ranks 3" in page(sweep, tmp_path)


def test_decisions_by_other_rules_and_leftovers_are_not_believed(tmp_path):
    sweep = auto(min=3, max=6, width=0.01)
    measure(sweep, tmp_path, uneven(0.3))
    assert len(planned_runs(sweep, tmp_path)[0][1]) == 6
    assert planned_runs(auto(min=3, max=6, width=0.02), tmp_path)[0][1] == [1, 2, 3]
    line = {"model": "smollm2", "inflight": 2, "ranks": 2}
    (tmp_path / decision_path(sweep, line, 2)).unlink()
    assert planned_runs(sweep, tmp_path)[0][1] == [1, 2, 3, 4]


def test_nothing_is_decided_by_what_is_missing(tmp_path):
    sweep = auto(min=3)
    first = cells(sweep)[0]
    with pytest.raises(UserError, match=r"repeat~1 has no result to decide by: Not measured"):
        decide(sweep, tmp_path, first, 1)
    for repeat in (1, 2):
        write_repeat(sweep, tmp_path, first, repeat)
    write_failure(sweep, tmp_path, first, 3, "The server died.")
    with pytest.raises(UserError, match=r"repeat~3 has no result to decide by: The server died"):
        decide(sweep, tmp_path, first, 1)
    with pytest.raises(UserError, match=r"round~1.json isn't there"):
        decide(sweep, tmp_path, first, 2)


def test_the_page_says_for_each_cell_why_it_stopped(tmp_path):
    sweep = config(
        repeats="auto",
        sweep={"inflight": [1, 2]},
        precision={"min": 3, "max": 5, "width": 0.02},
    )
    even, odd = uneven(0.0001), uneven(0.3)
    measure(sweep, tmp_path, lambda c, r: (even if c["inflight"] == 1 else odd)(c, r))
    html = page(sweep, tmp_path)
    section = html[html.index('id="stopped"') : html.index('id="checks"')]
    assert "interval as narrow as asked" in section and "most repeats reached" in section
    assert "Repeats were added until half the 95 % interval" in html


def test_the_page_says_what_was_found_with_which_probes(tmp_path):
    sweep = config(
        repeats=3, sweep={}, run=MANY, search={"high": 8.0}, slo={"latency_ms": {"p95": 216}}
    )
    measure(sweep, tmp_path, four_slots(2))
    html = page(sweep, tmp_path)
    assert "The search: found inflight 4." in html
    assert "1 ✓ (3), 2 ✓ (3), 4 ✓ (3), 5 ✗ (3), 6 ✗ (3), 8 ✗ (3)" in html


def test_a_folder_without_its_config_is_read_as_it_was_measured(tmp_path):
    """Cells that differ in repeats are complete."""
    sweep = config(repeats="auto", precision={"min": 3}, sweep={}, run=MANY, search={"high": 8.0})
    measure(sweep, tmp_path, four_slots(1))
    extra = parse_cell(sweep, ["inflight=4"])
    write_repeat(sweep, tmp_path, extra, 4, four_slots(1)(extra, 4))
    with opened(tmp_path) as results:
        study = results.study
    assert {cell.cell["inflight"]: len(cell.repeats) for cell in study.cells}[4] == 4
    assert all(len(cell.ok) == len(cell.repeats) for cell in study.cells)


def test_a_decision_file_can_be_read_by_people(tmp_path):
    sweep = auto(min=3)
    measure(sweep, tmp_path, uneven(0.001))
    (path,) = (tmp_path / "plan").rglob("*.json")
    data = json.loads(path.read_text())
    assert data["stopped"] == "width" and data["seen"][0]["repeats"] == 3
    shutil.rmtree(tmp_path / "plan")
    assert len(planned_runs(sweep, tmp_path)[0][1]) == 3


def test_a_config_that_was_written_and_read_again_has_the_same_decisions(tmp_path):
    sweep = auto(width=0.04, min=3, max=30)
    measure(sweep, tmp_path, uneven(0.05))
    again = parse_config(json.loads(sweep.model_dump_json()))
    assert planned_runs(again, tmp_path) == planned_runs(sweep, tmp_path)
    assert len(planned_runs(again, tmp_path)[0][1]) > 3
