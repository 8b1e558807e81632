"""Speedup of speculation over the same cells without: figures, tables, words, drawing."""

import csv
import io
from dataclasses import replace

import pytest
from tests.unit.pages import Page, page
from tests.unit.synthetic import Load, config, rows, to_table, write_repeat

from mls.analysis.intervals import ratio
from mls.analysis.speculation.speedup import SPEEDUP, speedups
from mls.analysis.study import read_study
from mls.analysis.tables import tables
from mls.config.cells import cells
from mls.report.pages.plain import plain

pytestmark = pytest.mark.usefixtures("blank_drawings")

MODEL = {"path": "smollm2.gguf"}
FACTORS = {1: 0.5, 4: 1.0, 8: 2.0}
"""inflight → time of a token with speculation over that without."""
RATE = "throughput.completion_tokens_per_s"


def sweep(repeats=3, **axes):
    return config(
        models={"smollm2": MODEL},
        sweep={"inflight": [*FACTORS], "speculation": ["off", "ngram-mod"]} | axes,
        run={"iters": 64, "max_tokens": 32},
        server={"draft_min": 2} if "draft_max" not in axes else {},
        repeats=repeats,
    )


def drafted(load):
    """Records with drafts; copies have 3 of 4 tokens accepted, chats 1 of 4."""
    records = rows(load)
    for record in records:
        copy = record["job"] % 2 == 0
        record |= {
            "draft_tokens": 4,
            "draft_tokens_accepted": 3 if copy else 1,
            "category": "copy" if copy else "chat",
        }
    return records


def measured(setup, results, failed=None):
    """The study; `failed`: (inflight, speculation) of cells of which half of the requests failed."""
    for number, cell in enumerate(cells(setup)):
        speculates = cell["speculation"] != "off"
        places = cell["inflight"]
        for repeat in range(1, setup.repeats + 1):
            load = Load(
                places=places,
                requests=64,
                tokens=32,
                itl_ms=10 * (FACTORS[places] if speculates else 1),
                ttft_ms=10 * (FACTORS[places] if speculates else 1),
                noise=0.15,
                late_ms=0.05,
                seed=100 * number + repeat,
            )
            if failed == (places, cell["speculation"]):
                load = replace(load, failed=dict.fromkeys(range(0, 64, 2), "reset"))
            records = to_table(drafted(load) if speculates else rows(load))
            write_repeat(setup, results, cell, repeat, records)
    return read_study(setup, results)


def test_speedup_is_the_ratio_to_the_cell_without_at_the_same_inflight(tmp_path):
    study = measured(sweep(), tmp_path)
    by_inflight = {one.cell.cell["inflight"]: one for one in speedups(study)}
    assert {at: one.finding for at, one in by_inflight.items()} == {
        1: "pays",
        4: "unclear",
        8: "costs",
    }
    for at, one in by_inflight.items():
        assert one.ratio.value == pytest.approx(1 / FACTORS[at], rel=0.05)
        assert one.ratio.low < 1 / FACTORS[at] < one.ratio.high
    table = csv.DictReader(io.StringIO(tables(study)["cells.csv"].decode()))
    for row in table:
        value = row[SPEEDUP]
        if row["speculation"] == "off":
            assert not value
        else:
            own = by_inflight[int(row["inflight"])].ratio
            ends = float(row[f"{SPEEDUP}.ci95_low"]), float(row[f"{SPEEDUP}.ci95_high"])
            assert (float(value), *ends) == (own.value, own.low, own.high)


def test_cells_without_speculation_that_differ_in_limits_of_a_draft_are_pooled(tmp_path):
    study = measured(sweep(draft_min=[2, 4], draft_max=[16]), tmp_path)
    assert len(speedups(study)) == 2 * len(FACTORS)
    for one in speedups(study):
        base = [
            value
            for cell in study.cells
            if cell.cell["speculation"] == "off"
            and cell.cell["inflight"] == one.cell.cell["inflight"]
            for value in cell.values(RATE)
        ]
        assert len(base) == 6
        assert one.ratio == ratio(one.cell.values(RATE), base)


def test_the_answer_says_up_to_which_inflight_it_pays(tmp_path):
    text = plain(measured(sweep(), tmp_path))
    assert "Speculation (ngram-mod) pays up to inflight 1: 2" in text
    assert "× the tokens/s without (95 % interval " in text
    assert "; it can't be told from none at inflight 4: " in text
    assert "; it costs at inflight 8: 0.5" in text


def test_one_repeat_tells_nothing(tmp_path):
    text = plain(measured(sweep(repeats=1), tmp_path))
    assert "Speculation (ngram-mod) can't be told from none at inflight 1 to 8: at 8 0.5" in text
    assert "(one repeat)" in text


@pytest.mark.parametrize("side", ["off", "ngram-mod"])
def test_a_failed_check_on_either_side_leaves_the_cell_out_of_the_answer(tmp_path, side):
    study = measured(sweep(), tmp_path, failed=(8, side))
    assert [one.trusted for one in speedups(study)] == [True, True, False]
    assert "it costs" not in plain(study)


def test_there_is_no_speedup_without_cells_without_speculation(tmp_path):
    study = measured(sweep(speculation=["ngram-mod"]), tmp_path)
    assert speedups(study) == []
    assert "Speculation (" not in plain(study)


def test_the_page_draws_speedup_and_lists_acceptance_by_category(tmp_path):
    setup = sweep()
    measured(setup, tmp_path)
    parsed = Page(page(setup, tmp_path))
    text = " ".join(parsed.text)
    assert "Speedup of speculation by inflight" in text
    section = text[text.index("Acceptance: the share") :].split()
    table = section[section.index("speedup") :]
    for category, acceptance in (("copy", "0.750"), ("chat", "0.250"), ("all", "0.500")):
        at = table.index(category)
        assert table[at + 1] == acceptance
    assert "speculation" in parsed.ids


def test_a_page_without_speculation_has_no_section_of_it(tmp_path):
    setup = sweep(speculation=["off"])
    measured(setup, tmp_path)
    assert "speculation" not in Page(page(setup, tmp_path)).ids
