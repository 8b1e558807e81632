"""Checks of whole cells: clean sweeps pass; a planted fault turns each check, which names it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.synthetic import Load, config, load_of, table, write_repeat, write_results

from mls.analysis.checks.cells.agreement import BatchSpread, enough_requests, repeats_agree
from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.config.sections.checks import Checks


def verdicts_of(study, check):
    return {
        tuple(cell.cell.values())[1:]: v
        for cell in study.cells
        for v in cell.verdicts
        if v.check == check
    }


def test_a_clean_sweep_passes(tmp_path):
    sweep = config(repeats=3, run={"iters": 32, "max_tokens": 32})
    write_results(sweep, tmp_path)
    study = read_study(sweep, tmp_path)
    for cell in study.cells:
        assert {v.check: v.status for v in cell.verdicts} == {
            "enough_requests": "pass",
            "repeats_agree": "pass",
            "same_thing_measured": "pass",
            "references_alike": "pass",
            "measured_together": "pass",
        }


@pytest.mark.parametrize(
    ("count", "status"), [(4, "fail"), (5, "warn"), (58, "warn"), (59, "pass"), (500, "pass")]
)
def test_too_few_requests(count, status):
    assert enough_requests(count, Checks()).status == status


def test_a_higher_percentile_needs_more_requests():
    verdict = enough_requests(60, Checks(percentile=99))
    assert (verdict.status, verdict.threshold) == ("warn", 299)


@pytest.mark.parametrize(("factor", "status"), [(1.5, "warn"), (2.5, "fail")])
def test_an_outlying_repeat_is_named(tmp_path, factor, status):
    sweep = config(repeats=3, sweep={"inflight": [4]})
    cell = cells(sweep)[0]
    for repeat in (1, 2, 3):
        load = load_of(sweep, cell, repeat)
        slow = replace(load, itl_ms=load.itl_ms * factor) if repeat == 2 else load
        write_repeat(sweep, tmp_path, cell, repeat, table(slow))
    study = read_study(sweep, tmp_path)
    verdict = study.cells[0].verdicts[1]
    assert (verdict.check, verdict.status) == ("repeats_agree", status)
    assert "repeat 2 is farthest" in verdict.message
    assert study.cells[0].verdict == status


def test_repeats_that_may_differ_by_chance_are_unknown():
    """Requests that vary so much make repeats differ by chance; once that was called agreement."""
    rng = np.random.default_rng(3)
    wide = [rng.lognormal(0, 1.2, 12) for _ in range(3)]
    assert np.std([x.mean() for x in wide], ddof=1) / np.mean(wide) > 0.1
    verdict = repeats_agree([1, 2, 3], wide, wide, Checks())
    assert (verdict.status, "can't be told" in verdict.message) == ("unknown", True)


def test_repeats_agree_when_twice_the_spread_would_have_shown():
    rng = np.random.default_rng(3)
    narrow = [rng.lognormal(0, 0.05, 12) for _ in range(3)]
    assert repeats_agree([1, 2, 3], narrow, narrow, Checks()).status == "pass"
    few = [batches[:1] for batches in narrow]
    assert repeats_agree([1, 2, 3], narrow, few, Checks()).status == "unknown"


@given(
    within=st.floats(0.005, 0.5),
    means=st.lists(st.floats(90, 110), min_size=2, max_size=6),
    freedom=st.integers(4, 60),
)
def test_what_would_have_shown_does_so_all_the_more_when_it_is_greater(within, means, freedom):
    """scipy's distribution has gaps near 0, so quiet hosts were once unknown at times."""
    batches = BatchSpread(within**2, freedom, 8.0)
    sizes = [0.01 * 2 ** (step / 4) for step in range(28)]
    exclusions = [batches.excludes(np.array(means), size) for size in sizes]
    assert exclusions == sorted(exclusions)


def test_a_single_repeat_agrees_with_nobody():
    assert repeats_agree([1], [np.ones(9)], [np.ones(9)], Checks()).status == "unknown"


def plant(folder, **keys):
    """Change keys of `run.json`: `a__b=value` sets key b of a."""
    path = folder / "run.json"
    data = json.loads(path.read_text())
    for key, value in keys.items():
        at, *names, last = [data, *key.split("__")]
        for name in names:
            at = at[name]
        at[last] = value
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"server__before__build": "b1-old"}, "server build b1-old"),
        ({"server__before__slots": 4}, "slots 4"),
        ({"server__before__ctx_per_slot": 512}, "context of a slot 512"),
        ({"config__model__file_sha256": "a" * 64}, "model file aaaa"),
        ({"environment__digest": "other"}, "environment other"),
    ],
    ids=["build", "slots", "context", "model", "environment"],
)
def test_another_thing_measured_in_one_cell_fails_that_cell(tmp_path, change, words):
    sweep = config()
    write_results(sweep, tmp_path)
    folder = write_repeat(sweep, tmp_path, cells(sweep)[1], 2)
    plant(folder, **change)
    verdicts = verdicts_of(read_study(sweep, tmp_path), "same_thing_measured")
    assert [v.status for v in verdicts.values()] == ["pass", "fail", "pass"]
    assert words in verdicts[2, 2].message
    assert "repeat 2" in verdicts[2, 2].message


def test_prompts_cut_out_of_another_pythons_texts_fail_their_cell(tmp_path):
    sweep = config()
    write_results(sweep, tmp_path)
    for cell in cells(sweep):
        for repeat in (1, 2):
            digest = ("b" if (cell, repeat) == (cells(sweep)[1], 2) else "a") * 64
            folder = write_repeat(sweep, tmp_path, cell, repeat)
            plant(folder, workload__corpus={"sha256": digest, "python": "3.11.7"})
    verdicts = verdicts_of(read_study(sweep, tmp_path), "same_thing_measured")
    assert [v.status for v in verdicts.values()] == ["pass", "fail", "pass"]
    assert "text of prompts bbbbbbbbbbbb in repeat 2" in verdicts[2, 2].message


def test_slots_that_are_an_axis_may_differ(tmp_path):
    sweep = config(sweep={"inflight": [2], "parallel": [2, 4]})
    write_results(sweep, tmp_path)
    for cell in cells(sweep):
        for repeat in (1, 2):
            folder = write_repeat(sweep, tmp_path, cell, repeat)
            plant(folder, server__before__slots=cell["parallel"])
    verdicts = verdicts_of(read_study(sweep, tmp_path), "same_thing_measured")
    assert {v.status for v in verdicts.values()} == {"pass"}


def verdicts_by_ranks(tmp_path, slower):
    """Verdicts on two cells that differ in ranks; that of 2 ranks is `slower` times slower."""
    sweep = config(repeats=3, sweep={"inflight": [4], "ranks": [2, 3]})
    for cell in cells(sweep):
        for repeat in (1, 2, 3):
            factor = slower if cell["ranks"] == 2 else 1.0
            pace = factor * (1 + 0.002 * repeat)
            load = Load(places=4, requests=40, tokens=32, itl_ms=10 * pace, ttft_ms=50 * pace)
            write_repeat(sweep, tmp_path, cell, repeat, table(load))
    return verdicts_of(read_study(sweep, tmp_path), "ranks_alike")


def test_ranks_that_do_not_matter_pass(tmp_path):
    assert {v.status for v in verdicts_by_ranks(tmp_path, 1.0).values()} == {"pass"}


def test_ranks_that_matter_fail_the_slower_cell(tmp_path):
    verdicts = verdicts_by_ranks(tmp_path, 1.2)
    assert (verdicts[4, 2].status, verdicts[4, 3].status) == ("fail", "pass")
    assert "than with ranks 3" in verdicts[4, 2].message
    assert verdicts[4, 2].measured == pytest.approx(0.2, abs=0.02)


def test_ranks_are_not_judged_where_they_are_no_axis(tmp_path):
    sweep = config()
    write_results(sweep, tmp_path)
    assert verdicts_of(read_study(sweep, tmp_path), "ranks_alike") == {}
