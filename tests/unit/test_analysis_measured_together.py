"""Were the cells of a comparison measured together? Planted times and the verdicts on them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.answers import answer_text
from tests.unit.synthetic import Load, config, table, write_repeat

from mls.analysis.answer import answer
from mls.analysis.checks.cells.measured_together import measured_together, whens
from mls.analysis.study import read_study
from mls.analysis.tables import cell_rows
from mls.config.cells import cells, run_order
from mls.config.decisions import Decision, decision_path, line_of, rules_digest
from mls.core.units import duration
from mls.report.pages.page import render
from mls.report.text.stopping import search_sentences, stops

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("blank_drawings")]

MORNING = datetime(2026, 11, 26, 9, tzinfo=UTC)
HOUR, DAY = 3600, 86400
"""In s, as all times of this file."""
LENGTH = 40
"""Length of a repeat in the plan of `in_order`, with its server's start and end."""


def set_start(folder, at_s, **config_server):
    """Set the start of a repeat; None makes it an old record without a start."""
    path = folder / "run.json"
    data = json.loads(path.read_text())
    data["clock"] = {}
    if at_s is not None:
        data["clock"]["started_utc"] = (MORNING + timedelta(seconds=at_s)).isoformat()
    data["config"]["server"] |= config_server
    path.write_text(json.dumps(data))


def measure(sweep, results, at, **config_server):
    """A study with planted starts.

    at: (index of the cell in the sweep, repeat) → start in s after `MORNING`.
    """
    for place, cell in enumerate(cells(sweep)):
        for repeat in range(1, sweep.repeats + 1):
            folder = write_repeat(sweep, results, cell, repeat)
            set_start(folder, at(place, repeat), **config_server)
    return read_study(sweep, results)


def in_order(sweep):
    """(index of the cell, repeat) → start, for a sweep that is measured in one go."""
    keys = ["/".join(f"{axis}~{value}" for axis, value in cell.items()) for cell in cells(sweep)]
    turns = run_order(sweep)
    return lambda place, repeat: LENGTH * turns.index((keys[place], repeat))


def verdicts_of(study):
    return [
        next((v for v in cell.verdicts if v.check == "measured_together"), None)
        for cell in study.cells
    ]


def statuses(study):
    return [v and v.status for v in verdicts_of(study)]


def small_sweep(repeats=3, inflight=(1, 2, 4), **keys):
    return config(repeats=repeats, sweep={"inflight": list(inflight)}, **keys)


def test_an_interleaved_sweep_passes(tmp_path):
    sweep = small_sweep()
    study = measure(sweep, tmp_path, in_order(sweep))
    assert statuses(study) == ["pass"] * 3
    verdict = verdicts_of(study)[0]
    assert (0 < verdict.measured < LENGTH) and verdict.threshold == 300
    assert verdict.message.startswith("Measured in one go with 2 other cells")
    assert "apart" not in answer_text(answer(study), study)
    assert {row["verdict"] for row in cell_rows(study)} == {cell.verdict for cell in study.cells}


def test_a_value_added_two_hours_later_is_apart(tmp_path):
    sweep = small_sweep()
    first = in_order(small_sweep(inflight=(1, 2)))

    def at(place, repeat):
        return first(place, repeat) if place < 2 else 2 * HOUR + LENGTH * repeat

    study = measure(sweep, tmp_path, at)
    assert statuses(study) == ["pass", "pass", "warn"]
    verdict = verdicts_of(study)[2]
    assert verdict.measured == pytest.approx(2 * HOUR, abs=300) and verdict.threshold == 300
    assert verdict.message.startswith("Measured 1 h 57 min after 2 other cells")
    assert "--forcerun run" in verdict.message
    text = answer_text(answer(study), study)
    assert "Not resolved: repeats of inflight 4 were measured 1 h 57 min apart" in text
    model_answer = answer(study).models[0]
    assert model_answer.throughput.resolved is False
    assert not model_answer.knee.resolved
    assert not model_answer.throughput.unclear  # by the figures alone it would be resolved
    assert "still rising" not in text
    assert "The knee was at inflight 4" in text


def test_one_old_cell_among_new_ones_lies_before_them(tmp_path):
    study = measure(
        small_sweep(), tmp_path, lambda place, r: LENGTH * r + (0 if place == 1 else 5 * HOUR)
    )
    assert statuses(study) == ["pass", "warn", "pass"]
    assert " before 2 other cells" in verdicts_of(study)[1].message


def test_a_resume_next_morning_after_whole_blocks_is_balanced(tmp_path):
    study = measure(
        small_sweep(), tmp_path, lambda place, r: LENGTH * place + (r - 1) * 200 + (r > 1) * DAY
    )
    assert statuses(study) == ["pass"] * 3
    assert "spread over 2 sittings as those of 2 other cells" in verdicts_of(study)[0].message
    assert answer(study).models[0].apart == []


def test_a_resume_within_a_block_is_not(tmp_path):
    """Cell 0 has two repeats of the day before, the others one: a third of any change enters."""
    study = measure(
        small_sweep(),
        tmp_path,
        lambda place, r: LENGTH * place + (r - 1) * 200 + (r > 1 + (place == 0)) * DAY,
    )
    assert statuses(study) == ["warn", "pass", "pass"]
    verdict = verdicts_of(study)[0]
    assert verdict.measured == pytest.approx(DAY, abs=300)
    assert "(2 + 1 against 1 + 2)" in verdict.message


def test_one_repeat_of_many_on_the_other_side_is_little(tmp_path):
    study = measure(
        small_sweep(repeats=8, inflight=(1, 2)),
        tmp_path,
        lambda place, r: LENGTH * place + (r - 1) * 200 + (r > 4 + place) * DAY,
    )
    assert statuses(study) == ["pass"] * 2


def test_a_single_repeat_measured_again_next_day_is_told(tmp_path):
    sweep = small_sweep()
    at = in_order(sweep)
    study = measure(sweep, tmp_path, lambda p, r: at(p, r) + DAY * ((p, r) == (1, 2)))
    assert statuses(study) == ["pass", "warn", "pass"]


def test_a_search_in_one_go_passes(tmp_path):
    """A search measures its values one after another, never in turns."""
    study = measure(small_sweep(), tmp_path, lambda place, r: LENGTH * (3 * place + r))
    assert statuses(study) == ["pass"] * 3


def test_single_repeats_in_one_go_pass_however_many(tmp_path):
    sweep = small_sweep(repeats=1, inflight=range(1, 13))
    study = measure(sweep, tmp_path, lambda place, r: 290 * place)
    assert statuses(study) == ["pass"] * 12


def test_two_single_repeats_of_two_days_are_apart_and_the_later_is_told(tmp_path):
    study = measure(small_sweep(repeats=1, inflight=(1, 4)), tmp_path, lambda place, r: DAY * place)
    assert statuses(study) == ["pass", "warn"]
    text = answer_text(answer(study), study)
    assert "repeats of inflight 4 were measured 1 d apart" in text
    assert "interval of their ratio" not in text  # single repeats have none
    assert answer(study).models[0].throughput.resolved is False


@pytest.mark.parametrize(("pause", "status"), [(299, "pass"), (1490, "pass"), (1510, "warn")])
def test_long_cells_may_lie_one_missing_repeat_apart(tmp_path, pause, status):
    """With cells of 20 minutes, a failed one of 20 minutes in between ends no sitting."""
    sweep = small_sweep(repeats=1, inflight=(1, 2))
    begin = 0
    for cell in cells(sweep):
        load = Load(places=cell["inflight"], requests=40 * cell["inflight"], itl_ms=1998)
        folder = write_repeat(sweep, tmp_path, cell, 1, table(load))
        wall_s = json.loads((folder / "run.json").read_text())["summary"]["wall_s"]
        assert wall_s == pytest.approx(1200, abs=2)
        set_start(folder, begin)
        begin = wall_s + pause
    assert statuses(read_study(sweep, tmp_path)) == ["pass", status]


def test_a_server_that_takes_long_to_start_makes_no_sittings(tmp_path):
    def at(place, repeat):
        return 600 * (place + 3 * repeat)

    study = measure(small_sweep(), tmp_path / "slow", at, startup_timeout_s=900)
    assert statuses(study) == ["pass"] * 3


def test_more_may_be_allowed(tmp_path):
    sweep = small_sweep(checks={"apart_s": 3 * HOUR})
    study = measure(sweep, tmp_path, lambda place, r: LENGTH * r + 2 * HOUR * (place == 2))
    assert statuses(study) == ["pass"] * 3
    assert verdicts_of(study)[0].threshold == 3 * HOUR


def test_old_records_without_times_are_unknown(tmp_path):
    study = measure(
        small_sweep(), tmp_path, lambda place, r: None if (place, r) == (1, 2) else LENGTH * r
    )
    assert statuses(study) == ["pass", "unknown", "pass"]
    assert verdicts_of(study)[1].measured is None
    text = answer_text(answer(study), study)
    assert "apart" not in text


def test_no_times_at_all_are_unknown(tmp_path):
    study = measure(small_sweep(), tmp_path, lambda place, r: None)
    assert statuses(study) == ["unknown"] * 3
    assert answer(study).models[0].apart == []


def test_a_cell_alone_is_compared_with_none(tmp_path):
    study = measure(small_sweep(inflight=(2,)), tmp_path, lambda place, r: DAY * r)
    assert statuses(study) == [None]


def test_models_are_judged_by_themselves_and_fill_each_others_pauses(tmp_path):
    models = {"one": {"path": "a"}, "two": {"path": "b"}}
    sweep = config(
        models=models, sweep={"model": ["one", "two"], "inflight": [1, 2]}, repeats=1
    )  # in time: one at 1, two at 1, two at 2, one at 2
    study = measure(sweep, tmp_path / "busy", lambda place, r: [0, 800, 300, 550][place])
    assert statuses(study) == ["pass"] * 4
    study = measure(sweep, tmp_path / "later", lambda place, r: LENGTH * place + DAY * (place > 1))
    assert statuses(study) == ["pass"] * 4  # model two a day later; each model by itself


def test_cells_left_out_of_the_answer_are_not_told_there(tmp_path):
    sweep = small_sweep()
    study = measure(sweep, tmp_path, lambda place, r: LENGTH * r + DAY * (place == 0))
    cell = cells(sweep)[0]
    for repeat in (1, 2, 3):
        folder = write_repeat(sweep, tmp_path, cell, repeat)
        set_start(folder, LENGTH * repeat + DAY)
        data = json.loads((folder / "run.json").read_text())
        data["server"]["before"]["build"] = "b1-other"
        (folder / "run.json").write_text(json.dumps(data))
    study = read_study(sweep, tmp_path)
    assert statuses(study) == ["warn", "pass", "pass"]
    assert answer(study).models[0].apart == []
    assert "apart" not in answer_text(answer(study), study)


TIMES = st.lists(
    st.lists(st.integers(0, 40).map(lambda n: 500 * n), min_size=2, max_size=2),
    min_size=3,
    max_size=3,
)


@pytest.fixture(scope="module")
def sweep_and_study(tmp_path_factory):
    """(sweep, study); each example plants its own times."""
    sweep = small_sweep(repeats=2)
    return sweep, measure(sweep, tmp_path_factory.mktemp("times"), in_order(sweep))


def outcomes(sweep_and_study, times, order=(0, 1, 2), shift=0):
    """(status, measured, message) of each cell. order: the order of the cells. shift: in s."""
    sweep, study = sweep_and_study
    results = []
    for place in order:
        repeats = []
        for repeat, at in zip(study.cells[place].repeats, times[place], strict=True):
            utc = (MORNING + timedelta(seconds=at + shift)).isoformat()
            result = repeat.result.model_copy(update={"clock": {"started_utc": utc}})
            repeats.append(replace(repeat, result=result))
        results.append(replace(study.cells[place], repeats=repeats))
    results = [
        replace(c, when=w) for c, w in zip(results, whens(results, sweep.checks), strict=True)
    ]
    verdicts = measured_together(results, sweep.checks)
    by_place = dict(zip(order, verdicts, strict=True))
    return [(by_place[i].status, by_place[i].measured, by_place[i].message) for i in range(3)]


@given(times=TIMES, shift=st.integers(-10_000_000, 10_000_000))
def test_a_shift_of_all_times_changes_nothing(sweep_and_study, times, shift):
    for (s, m, text), (s2, m2, text2) in zip(
        outcomes(sweep_and_study, times), outcomes(sweep_and_study, times, shift=shift), strict=True
    ):
        assert (s, text) == (s2, text2)
        assert m == pytest.approx(m2, abs=1e-3)


@given(times=TIMES, order=st.permutations([0, 1, 2]))
def test_the_order_of_cells_does_not_matter(sweep_and_study, times, order):
    assert outcomes(sweep_and_study, times) == outcomes(sweep_and_study, times, order)


@given(times=TIMES)
def test_times_that_all_cells_share_are_together(sweep_and_study, times):
    assert {status for status, *_ in outcomes(sweep_and_study, [times[0]] * 3)} == {"pass"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (45, "45 s"),
        (720, "12 min"),
        (7200, "2 h"),
        (7800, "2 h 10 min"),
        (DAY + 4 * HOUR, "1 d 4 h"),
        (2 * DAY, "2 d"),
    ],
)
def test_durations_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_the_page_says_it_as_of_other_checks(tmp_path):
    sweep = small_sweep()
    measure(sweep, tmp_path, lambda place, r: LENGTH * r + 2 * HOUR * (place == 2))
    render(sweep, tmp_path, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    checks = html[html.index('id="checks"') :]
    assert "measured together" in checks
    assert "after 2 other cells" in checks
    assert (
        "apart from those of the others"
        in html[html.index('id="answer"') : html.index('id="cells"')]
    )


def test_a_search_says_that_its_values_were_measured_at_different_times(tmp_path):
    sweep = config(
        repeats=3, sweep={}, search={"axis": "inflight", "low": 1, "high": 8}, name="searching"
    )
    first = cells(sweep)[0]
    line = line_of(sweep, first)
    probes = []
    for place, inflight in enumerate((1, 2, 4)):
        for repeat in (1, 2, 3):
            cell = {**first, "inflight": inflight}
            folder = write_repeat(sweep, tmp_path, cell, repeat)
            set_start(folder, LENGTH * (3 * place + repeat) + (place == 2) * 2 * HOUR)
            if inflight > 1:
                probes.append({"cell": cell, "repeat": repeat})
    for round_, (runs, stopped) in enumerate(((probes, None), ([], "found")), start=1):
        decision = Decision(
            round=round_, line=line, rules=rules_digest(sweep), runs=runs, stopped=stopped,
            found=None if runs else 2, message="Inflight 2 has practically all.",
        )  # fmt: skip
        path = tmp_path / decision_path(sweep, line, round_)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(decision.model_dump_json())
    study = read_study(sweep, tmp_path)
    assert statuses(study) == ["pass", "pass", "warn"]
    (sentence,) = search_sentences(study, "smollm2", ["inflight"])
    assert "Not all of this was measured together: 2 h 1 min lie in between." in sentence
    assert "measured together" in stops(study, ["inflight"])[0].message


def test_a_change_along_what_is_asked_is_not_resolved_between_days(tmp_path):
    sweep = config(
        repeats=3, sweep={"prompt_words": [8, 32]}, run={"inflight": 2, "max_tokens": 32}
    )
    study = measure(sweep, tmp_path, lambda place, repeat: DAY * place + LENGTH * repeat)
    (model_answer,) = answer(study).models
    assert all(one.apart and one.resolved is False for one in model_answer.changes)
    text = answer_text(answer(study), study)
    assert "Not resolved, as they were not measured together." in text
