"""The page of a sweep that is still measured: marked, without an answer, of what has ended."""

import pytest
from tests.unit.adaptive_sweeps import auto
from tests.unit.pages import Page, page
from tests.unit.synthetic import (
    Load,
    config,
    table,
    write_failure,
    write_json,
    write_repeat,
    write_results,
)
from typer.testing import CliRunner

from mls.cli import app
from mls.config.cells import cells
from mls.report.pages.inputs import embedded
from mls.report.pages.so_far import render_so_far

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("blank_drawings")]

SWEEP = config(repeats=3, sweep={"inflight": [1, 2]}, run={"iters": 24, "max_tokens": 16})


def repeat(sweep, results, cell, number):
    records = table(Load(places=cell["inflight"], requests=24, tokens=16, seed=number))
    write_repeat(sweep, results, cell, number, records)


def so_far(sweep, results):
    output = results / "report.html"
    render_so_far(sweep, results, output)
    return output.read_text()


def test_it_is_marked_and_has_figures_but_no_answer(tmp_path):
    for cell in cells(SWEEP):
        repeat(SWEEP, tmp_path, cell, 1)
    repeat(SWEEP, tmp_path, cells(SWEEP)[0], 2)
    html = so_far(SWEEP, tmp_path)
    parsed = Page(html)
    assert "<title>3 of 6 repeats so far: " in html
    assert "3 of 6 repeats so far." in parsed.text
    assert not {"answer", "answer-title"} & {*parsed.ids}
    text = " ".join(parsed.text)
    for words in ("Partial", "incomplete", "Not measured yet", "Highest throughput", "is highest"):
        assert words not in text
    assert "throughput" in parsed.ids and html.count("<figure") > 2
    assert (
        html.count('class="badge fail"') == 1
    )  # where it is explained: what is missing has not failed


def test_the_page_after_the_last_repeat_has_no_mark(tmp_path):
    write_results(SWEEP, tmp_path)
    html = page(SWEEP, tmp_path)
    assert "so far" not in html and "so-far" not in html
    assert "answer" in Page(html).ids


def test_a_partial_page_has_no_mark_either(tmp_path):
    repeat(SWEEP, tmp_path, cells(SWEEP)[0], 1)
    html = page(SWEEP, tmp_path)
    assert "so far" not in html and "Partial: 1 of 6" in html


def test_a_repeat_that_failed_is_named(tmp_path):
    repeat(SWEEP, tmp_path, cells(SWEEP)[0], 1)
    write_failure(SWEEP, tmp_path, cells(SWEEP)[1], 1, "It was struck by lightning.")
    html = so_far(SWEEP, tmp_path)
    assert "1 of 6 repeats so far" in html and "It was struck by lightning." in html


def test_where_results_add_repeats_there_are_at_least_so_many(tmp_path):
    sweep = auto(min=2, max=5)
    repeat(sweep, tmp_path, cells(sweep)[0], 1)
    assert "1 of at least 2 repeats so far" in so_far(sweep, tmp_path)


def test_an_archive_does_not_take_it_for_the_page_of_its_results(tmp_path):
    for cell in cells(SWEEP):
        repeat(SWEEP, tmp_path, cell, 1)
    assert embedded(so_far(SWEEP, tmp_path)) is None
    assert embedded(page(SWEEP, tmp_path)) is not None


@pytest.fixture
def command(tmp_path):
    """(result of `mls report --so-far`) of a sweep, with the page of another at the top."""
    data = SWEEP.model_dump(mode="json") | {"results": str(tmp_path / "results")}
    write_json(tmp_path / "config.json", data)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "report.html").write_text("another sweep's")
    return lambda: CliRunner().invoke(
        app, ["report", "--config", str(tmp_path / "config.json"), "--so-far"]
    )


def test_it_replaces_the_page_at_the_top_and_leaves_no_answer(tmp_path, command):
    repeat(SWEEP, tmp_path / "results", cells(SWEEP)[0], 1)
    assert command().exit_code == 0
    top = (tmp_path / "results" / "report.html").read_text()
    own = tmp_path / "results" / "sweeps" / SWEEP.name
    assert "1 of 6 repeats so far" in top and (own / "report.html").read_text() == top
    assert not (own / "answer.txt").exists()


def test_without_a_result_the_page_of_another_sweep_stays(tmp_path, command):
    write_failure(SWEEP, tmp_path / "results", cells(SWEEP)[0], 1, "It was struck by lightning.")
    failed = command()
    assert str(failed.exception) == (
        "No repeat has a result yet, so there is no page of the sweep so far."
    )
    assert (tmp_path / "results" / "report.html").read_text() == "another sweep's"
    assert not (tmp_path / "results" / "sweeps").exists()
