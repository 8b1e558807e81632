"""Where replies think the page has TTFA beside TTFT, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.pages import captions, headings, page, text_page
from tests.unit.synthetic import Load, config, rows, to_table, write_repeat

from mls.analysis.comparison import compare
from mls.analysis.history import history
from mls.analysis.study import read_study
from mls.analysis.tables import aggregate
from mls.config.cells import cells
from mls.config.config import Config
from mls.report.pages.history import render

pytestmark = pytest.mark.slow

ANSWER = "The first token of the answer, after the thought, comes within "
CARD = "p95 TTFA there"


def sweep_of(folder: Path, thinking: dict[int, int], silent: int = 0, **columns: None) -> Config:
    """Results of cells, by inflight: so many tokens of reasoning; the first replies have no answer."""
    sweep = config(sweep={"inflight": [*thinking]}, run={"iters": 40, "max_tokens": 16})
    for cell in cells(sweep):
        inflight = int(cell["inflight"])
        slower = {"itl_ms": 10.0 * inflight**0.5, "thinking": thinking[inflight]}
        load = Load(places=inflight, requests=40, tokens=16, **slower)
        records = [row | columns for row in rows(load)]
        records = [row | {"first_answer_ns": None} for row in records[:silent]] + records[silent:]
        for repeat in (1, 2):
            write_repeat(sweep, folder, cell, repeat, to_table(records))
    return sweep


def results(folder: Path, thinking: dict[int, int], silent: int = 0, **columns: None) -> str:
    """The page of `sweep_of`, drawings aside."""
    return text_page(sweep_of(folder, thinking, silent, **columns), folder)


def test_both_are_side_by_side_where_a_cell_thinks(tmp_path: Path) -> None:
    html = results(tmp_path, {2: 0, 4: 8})
    columns, titles = headings(html), [*captions(html)]
    at = columns.index("TTFT p50")
    assert columns[at : at + 4] == ["TTFT p50", "TTFT p95", "TTFA p50", "TTFA p95"]
    for first, answer in (
        ("Time to first token (TTFT)", "Time to first answer token (TTFA)"),
        ("TTFT", "TTFA"),
    ):
        assert titles.index(answer) == titles.index(first) + 1
    assert "<dt>TTFA</dt>" in html and "Unanswered" not in columns
    assert ANSWER not in html and CARD not in html  # The cell of the least latency doesn't think


CALLS = ("Tool calls p50", "Tool calls p95")
KINDS = ("Reasoning TPOT p50", "Answer TPOT p50")


def test_each_kind_of_token_has_its_pace_where_both_occur(tmp_path: Path) -> None:
    html = results(tmp_path, {2: 0, 4: 8})
    columns, titles = headings(html), [*captions(html)]
    at = columns.index("TPOT p50")
    assert columns[at + 1 : at + 3] == [*KINDS] and not {*CALLS} & {*columns}
    assert "TPOT of reasoning" in titles and "TPOT of answers" in titles
    assert "Whole tool calls" not in titles and "<dt>Tool calls</dt>" not in html


def test_tool_calls_have_their_columns_where_there_are_some(tmp_path: Path) -> None:
    sweep = config(sweep={"inflight": [2, 4]}, run={"iters": 40, "max_tokens": 16})
    for cell in cells(sweep):
        records = rows(Load(places=int(cell["inflight"]), requests=40, tokens=16))
        records = [row | {"tool_call_ns": row["last_chunk_ns"]} for row in records]
        write_repeat(sweep, tmp_path, cell, 1, to_table(records))
    html = text_page(sweep, tmp_path)
    columns, titles = headings(html), [*captions(html)]
    at = columns.index("TTFT p95")
    assert columns[at + 1 : at + 3] == [*CALLS] and not {*KINDS} & {*columns}
    assert "Whole tool calls" in titles and "Time to whole tool calls" in titles
    assert "<dt>Tool calls</dt>" in html


def test_the_answer_says_both_and_the_share_that_lacks_one_is_a_column(tmp_path: Path) -> None:
    html = results(tmp_path, {2: 8}, silent=1)
    assert html.count(ANSWER) == 1 and CARD in html
    assert "Unanswered" in headings(html)


@pytest.mark.parametrize("columns", [{}, {"first_answer_ns": None, "reasoning_chunks": None}])
def test_elsewhere_there_is_ttft_alone(tmp_path: Path, columns: dict[str, None]) -> None:
    html = page(sweep_of(tmp_path, {2: 0}, **columns), tmp_path)
    assert "TTFT p95" in headings(html)
    assert "TTFA" not in html and "Unanswered" not in html


def test_where_nothing_is_answered_there_is_no_ttfa(tmp_path: Path) -> None:
    columns = headings(results(tmp_path, {2: 8}, silent=40))
    assert "Unanswered" in columns and "TTFA p50" not in columns


def test_a_comparison_has_ttfa_of_the_cells_that_think_on_either_side(tmp_path: Path) -> None:
    sides = [
        read_study(sweep_of(tmp_path / name, thinking), tmp_path / name)
        for name, thinking in (("base", {2: 0, 4: 0}), ("new", {2: 8, 4: 0}))
    ]
    thinking, other = compare(*sides).cells
    assert [change.metric.name for change in thinking.changes][-1] == "ttfa_ms.p95"
    assert thinking.changes[-1].ratio.value > 1.5
    assert "ttfa_ms.p95" not in [change.metric.name for change in other.changes]
    alike = compare(sides[0], sides[0]).cells
    assert "ttfa_ms.p95" not in [change.metric.name for cell in alike for change in cell.changes]


@pytest.mark.parametrize("thinking", [0, 8])
def test_the_history_has_a_column_of_ttfa_where_replies_think(
    tmp_path: Path, thinking: int
) -> None:
    folder = tmp_path / "sets"
    sweep = sweep_of(folder / "one", {2: thinking})
    aggregate(sweep, folder / "one")
    output = tmp_path / "history.html"
    render(history(folder), folder, output)
    assert ("TTFA p95" in output.read_text()) == (thinking > 0)
