"""Were the cells that are compared measured at the same time? Planted times, and what is said of them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.answers import answer_text
from tests.unit.synthetic import Load, config, table, write_repeat

from mls.analysis.answer import answer
from mls.analysis.checks.cells.measured_together import duration, measured_together, whens
from mls.analysis.study import read_study
from mls.analysis.tables import cell_rows
from mls.config.cells import cells, run_order
from mls.config.decisions import Decision, decision_path, line_of, rules_digest
from mls.report.pages.page import render
from mls.report.text.stopping import search_sentences, stops

MORNING = datetime(2026, 11, 26, 9, tzinfo=UTC)
HOUR, DAY = 3600, 86400
"""In s, as all times here."""
LENGTH = 40
"""Of a repeat, with its server's start and end, as `in_order` plans them."""


def started(folder, at_s, **config_server):
    """Set when a repeat began; None: an old record that doesn't say."""
    path = folder / "run.json"
    data = json.loads(path.read_text())
    data["clock"] = {}
    if at_s is not None:
        data["clock"]["started_utc"] = (MORNING + timedelta(seconds=at_s)).isoformat()
    data["config"]["server"] |= config_server
    path.write_text(json.dumps(data))


def study(planned, results, at, **config_server):
    """at: (place of the cell in the sweep, repeat) → when it began, in s after the morning."""
    for place, cell in enumerate(cells(planned)):
        for repeat in range(1, planned.repeats + 1):
            folder = write_repeat(planned, results, cell, repeat)
            started(folder, at(place, repeat), **config_server)
    return read_study(planned, results)


def in_order(planned):
    """(place, repeat) → when it begins, if the sweep is measured in one go."""
    keys = ["/".join(f"{axis}~{value}" for axis, value in cell.items()) for cell in cells(planned)]
    turns = run_order(planned)
    return lambda place, repeat: LENGTH * turns.index((keys[place], repeat))


def together(read):
    return [
        next((v for v in cell.verdicts if v.check == "measured_together"), None)
        for cell in read.cells
    ]


def statuses(read):
    return [v and v.status for v in together(read)]


def sweep(repeats=3, inflight=(1, 2, 4), **keys):
    return config(repeats=repeats, sweep={"inflight": list(inflight)}, **keys)


def test_an_interleaved_sweep_passes(tmp_path):
    planned = sweep()
    read = study(planned, tmp_path, in_order(planned))
    assert statuses(read) == ["pass"] * 3
    verdict = together(read)[0]
    assert (0 < verdict.measured < LENGTH) and verdict.threshold == 300
    assert verdict.message.startswith("Measured in one go with 2 other cells")
    assert "apart" not in answer_text(answer(read), read)
    assert {row["verdict"] for row in cell_rows(read)} == {cell.verdict for cell in read.cells}


def test_a_value_added_two_hours_later_is_apart(tmp_path):
    planned = sweep()
    first = in_order(sweep(inflight=(1, 2)))

    def at(place, repeat):
        return first(place, repeat) if place < 2 else 2 * HOUR + LENGTH * repeat

    read = study(planned, tmp_path, at)
    assert statuses(read) == ["pass", "pass", "warn"]
    verdict = together(read)[2]
    assert verdict.measured == pytest.approx(2 * HOUR, abs=300) and verdict.threshold == 300
    assert verdict.message.startswith("Measured 1 h 57 min after 2 other cells")
    assert "--forcerun run" in verdict.message
    text = answer_text(answer(read), read)
    assert "Not resolved: repeats of inflight 4 were measured 1 h 57 min apart" in text
    chosen = answer(read).models[0]
    assert chosen.throughput.resolved is False
    assert not chosen.knee.resolved
    assert not chosen.throughput.unclear  # by the figures alone it would be resolved
    assert "still rising" not in text
    assert "The knee was at inflight 4" in text


def test_one_old_cell_among_new_ones_lies_before_them(tmp_path):
    read = study(sweep(), tmp_path, lambda place, r: LENGTH * r + (0 if place == 1 else 5 * HOUR))
    assert statuses(read) == ["pass", "warn", "pass"]
    assert " before 2 other cells" in together(read)[1].message


def test_a_resume_next_morning_after_whole_blocks_is_balanced(tmp_path):
    read = study(sweep(), tmp_path, lambda place, r: LENGTH * place + (r - 1) * 200 + (r > 1) * DAY)
    assert statuses(read) == ["pass"] * 3
    assert "spread over 2 sittings as those of 2 other cells" in together(read)[0].message
    assert answer(read).models[0].apart == []


def test_a_resume_within_a_block_is_not(tmp_path):
    """Cell 0 has two repeats of yesterday, the others one: a third of what changed enters."""
    read = study(
        sweep(),
        tmp_path,
        lambda place, r: LENGTH * place + (r - 1) * 200 + (r > 1 + (place == 0)) * DAY,
    )
    assert statuses(read) == ["warn", "pass", "pass"]
    verdict = together(read)[0]
    assert verdict.measured == pytest.approx(DAY, abs=300)
    assert "(2 + 1 against 1 + 2)" in verdict.message


def test_one_repeat_of_many_on_the_other_side_is_little(tmp_path):
    read = study(
        sweep(repeats=8, inflight=(1, 2)),
        tmp_path,
        lambda place, r: LENGTH * place + (r - 1) * 200 + (r > 4 + place) * DAY,
    )
    assert statuses(read) == ["pass"] * 2


def test_a_single_repeat_measured_again_next_day_is_told(tmp_path):
    planned = sweep()
    at = in_order(planned)
    read = study(planned, tmp_path, lambda p, r: at(p, r) + DAY * ((p, r) == (1, 2)))
    assert statuses(read) == ["pass", "warn", "pass"]


def test_a_search_in_one_go_passes(tmp_path):
    """Its values come one after another, and never take turns."""
    read = study(sweep(), tmp_path, lambda place, r: LENGTH * (3 * place + r))
    assert statuses(read) == ["pass"] * 3


def test_single_repeats_in_one_go_pass_however_many(tmp_path):
    planned = sweep(repeats=1, inflight=range(1, 13))
    read = study(planned, tmp_path, lambda place, r: 290 * place)
    assert statuses(read) == ["pass"] * 12


def test_two_single_repeats_of_two_days_are_apart_and_the_later_is_told(tmp_path):
    read = study(sweep(repeats=1, inflight=(1, 4)), tmp_path, lambda place, r: DAY * place)
    assert statuses(read) == ["pass", "warn"]
    text = answer_text(answer(read), read)
    assert "repeats of inflight 4 were measured 1 d apart" in text
    assert "interval of their ratio" not in text  # there are none
    assert answer(read).models[0].throughput.resolved is False


@pytest.mark.parametrize(("pause", "status"), [(299, "pass"), (1490, "pass"), (1510, "warn")])
def test_long_cells_may_lie_one_missing_repeat_apart(tmp_path, pause, status):
    """Cells of 20 minutes: a failed one in between, of as many, ends no sitting."""
    planned = sweep(repeats=1, inflight=(1, 2))
    begin = 0
    for cell in cells(planned):
        load = Load(places=cell["inflight"], requests=40 * cell["inflight"], itl_ms=1998)
        folder = write_repeat(planned, tmp_path, cell, 1, table(load))
        wall_s = json.loads((folder / "run.json").read_text())["summary"]["wall_s"]
        assert wall_s == pytest.approx(1200, abs=2)
        started(folder, begin)
        begin = wall_s + pause
    assert statuses(read_study(planned, tmp_path)) == ["pass", status]


def test_a_server_that_takes_long_to_start_makes_no_sittings(tmp_path):
    def at(place, repeat):
        return 600 * (place + 3 * repeat)

    read = study(sweep(), tmp_path / "slow", at, startup_timeout_s=900)
    assert statuses(read) == ["pass"] * 3


def test_more_may_be_allowed(tmp_path):
    planned = sweep(checks={"apart_s": 3 * HOUR})
    read = study(planned, tmp_path, lambda place, r: LENGTH * r + 2 * HOUR * (place == 2))
    assert statuses(read) == ["pass"] * 3
    assert together(read)[0].threshold == 3 * HOUR


def test_old_records_without_times_are_unknown(tmp_path):
    read = study(sweep(), tmp_path, lambda place, r: None if (place, r) == (1, 2) else LENGTH * r)
    assert statuses(read) == ["pass", "unknown", "pass"]
    assert together(read)[1].measured is None
    text = answer_text(answer(read), read)
    assert "apart" not in text


def test_no_times_at_all_are_unknown(tmp_path):
    read = study(sweep(), tmp_path, lambda place, r: None)
    assert statuses(read) == ["unknown"] * 3
    assert answer(read).models[0].apart == []


def test_a_cell_alone_is_compared_with_none(tmp_path):
    read = study(sweep(inflight=(2,)), tmp_path, lambda place, r: DAY * r)
    assert statuses(read) == [None]


def test_models_are_judged_by_themselves_and_fill_each_others_pauses(tmp_path):
    models = {"one": {"path": "a"}, "two": {"path": "b"}}
    planned = config(
        models=models, sweep={"model": ["one", "two"], "inflight": [1, 2]}, repeats=1
    )  # one at 1 · two, two · one at 2
    read = study(planned, tmp_path / "busy", lambda place, r: [0, 800, 300, 550][place])
    assert statuses(read) == ["pass"] * 4
    read = study(planned, tmp_path / "later", lambda place, r: LENGTH * place + DAY * (place > 1))
    assert statuses(read) == ["pass"] * 4  # model two a day later, each among its own


def test_cells_left_out_of_the_answer_are_not_told_there(tmp_path):
    planned = sweep()
    read = study(planned, tmp_path, lambda place, r: LENGTH * r + DAY * (place == 0))
    odd = cells(planned)[0]
    for repeat in (1, 2, 3):
        folder = write_repeat(planned, tmp_path, odd, repeat)
        started(folder, LENGTH * repeat + DAY)
        data = json.loads((folder / "run.json").read_text())
        data["server"]["before"]["build"] = "b1-other"
        (folder / "run.json").write_text(json.dumps(data))
    read = read_study(planned, tmp_path)
    assert statuses(read) == ["warn", "pass", "pass"]
    assert answer(read).models[0].apart == []
    assert "apart" not in answer_text(answer(read), read)


TIMES = st.lists(
    st.lists(st.integers(0, 40).map(lambda n: 500 * n), min_size=2, max_size=2),
    min_size=3,
    max_size=3,
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A study whose times are planted anew for each example."""
    planned = sweep(repeats=2)
    return planned, study(planned, tmp_path_factory.mktemp("times"), in_order(planned))


def judged(measured, times, order=(0, 1, 2), shift=0):
    planned, read = measured
    timed = []
    for place in order:
        repeats = []
        for repeat, at in zip(read.cells[place].repeats, times[place], strict=True):
            utc = (MORNING + timedelta(seconds=at + shift)).isoformat()
            result = repeat.result.model_copy(update={"clock": {"started_utc": utc}})
            repeats.append(replace(repeat, result=result))
        timed.append(replace(read.cells[place], repeats=repeats))
    timed = [replace(c, when=w) for c, w in zip(timed, whens(timed, planned.checks), strict=True)]
    verdicts = measured_together(timed, planned.checks)
    by_place = dict(zip(order, verdicts, strict=True))
    return [(by_place[i].status, by_place[i].measured, by_place[i].message) for i in range(3)]


@given(times=TIMES, shift=st.integers(-10_000_000, 10_000_000))
def test_a_shift_of_all_times_changes_nothing(measured, times, shift):
    for (s, m, text), (s2, m2, text2) in zip(
        judged(measured, times), judged(measured, times, shift=shift), strict=True
    ):
        assert (s, text) == (s2, text2)
        assert m == pytest.approx(m2, abs=1e-3)


@given(times=TIMES, order=st.permutations([0, 1, 2]))
def test_the_order_of_cells_does_not_matter(measured, times, order):
    assert judged(measured, times) == judged(measured, times, order)


@given(times=TIMES)
def test_times_that_all_cells_share_are_together(measured, times):
    assert {status for status, *_ in judged(measured, [times[0]] * 3)} == {"pass"}


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
    planned = sweep()
    study(planned, tmp_path, lambda place, r: LENGTH * r + 2 * HOUR * (place == 2))
    render(planned, tmp_path, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    checks = html[html.index('id="checks"') :]
    assert "measured together" in checks
    assert "after 2 other cells" in checks
    assert (
        "apart from those of the others"
        in html[html.index('id="answer"') : html.index('id="cells"')]
    )


def test_a_search_says_that_its_values_were_measured_at_different_times(tmp_path):
    planned = config(
        repeats=3, sweep={}, search={"axis": "inflight", "low": 1, "high": 8}, name="searching"
    )
    first = cells(planned)[0]
    line = line_of(planned, first)
    wanted = []
    for place, inflight in enumerate((1, 2, 4)):
        for repeat in (1, 2, 3):
            cell = {**first, "inflight": inflight}
            folder = write_repeat(planned, tmp_path, cell, repeat)
            started(folder, LENGTH * (3 * place + repeat) + (place == 2) * 2 * HOUR)
            if inflight > 1:
                wanted.append({"cell": cell, "repeat": repeat})
    for round_, (runs, stopped) in enumerate(((wanted, None), ([], "found")), start=1):
        decision = Decision(
            round=round_, line=line, rules=rules_digest(planned), runs=runs, stopped=stopped,
            found=None if runs else 2, message="Inflight 2 has practically all.",
        )  # fmt: skip
        path = tmp_path / decision_path(planned, line, round_)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(decision.model_dump_json())
    read = read_study(planned, tmp_path)
    assert statuses(read) == ["pass", "pass", "warn"]
    (sentence,) = search_sentences(read, "smollm2", ["inflight"])
    assert "Not all of this was measured together: 2 h 1 min lie in between." in sentence
    assert "measured together" in stops(read, ["inflight"])[0].message
