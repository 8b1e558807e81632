"""The page's table of canaries, and the texts of replies that part."""

import json
from xml.etree import ElementTree

import pytest
from tests.unit.differences import (
    ALONE,
    OTHER,
    UNDER_LOAD,
    kept,
    records,
)
from tests.unit.pages import Page, page
from tests.unit.references import reference
from tests.unit.synthetic import (
    ALIKE,
    EVERY,
    config,
    load_of,
    rows,
    to_table,
    write_repeat,
    write_results,
)

from mls.analysis.canaries.replies import (
    DIFFERENT,
    MeasuredRepeat,
    canary_replies,
    different_share,
)
from mls.analysis.study import read_study
from mls.analysis.tables import cell_rows
from mls.config.cells import cells
from mls.core.run_result import CanaryReport, RunResult
from mls.report.pages.canaries import MOST_ROWS, canary_table

pytestmark = pytest.mark.usefixtures("blank_drawings")


def measured(table, report=ALIKE, number=1):
    return MeasuredRepeat(number, RunResult.model_construct(canaries=report), table)


def sweep_with(tmp_path, **values):
    """A sweep in which one reply of its second cell, in repeat 2, has these values."""
    sweep = config()
    write_results(sweep, tmp_path)
    cell = cells(sweep)[1]
    kept(write_repeat(sweep, tmp_path, cell, 2, records(sweep, cell, 2, **values)))
    return sweep


def details(html):
    """The part of a page that the canaries' heading begins."""
    return html[html.index("<h3>Canaries</h3>") :].split("</details>")[0]


def test_replies_are_counted_canary_by_canary():
    load = [row | {"canary_difference": None} if job == EVERY else row for job, row in enumerate(
        rows(load_of(config(), cells(config())[0], 1)))]  # fmt: skip
    load[0] |= OTHER
    load[2 * EVERY] |= OTHER | {"canary_difference": "lost", "canary_tokens": 10.0}
    odd = ALIKE.model_copy(update={"references": [reference(ALONE, again=True)] * 2})
    first, second = canary_replies([measured(to_table(load)), measured(to_table(load), odd, 2)])
    assert (first.number, first.tokens, first.asked, first.unlike) == (1, 24, 2, 1)
    assert (first.replies, first.kinds, first.before) == (8, {"other": 2, "lost": 2}, 8)
    assert (second.number, second.replies, second.different, second.before) == (2, 4, 0, None)
    assert first.example is None
    assert different_share([to_table(load), to_table(load)]).value == pytest.approx(2 / 6)


def test_without_canaries_there_is_no_table(tmp_path):
    none = CanaryReport(why_none="replies.canaries is 0.", ruled_out=True)
    assert canary_replies([measured(to_table([]), none)]) == ()
    sweep = config(repeats=1)
    write_results(sweep, tmp_path)
    for path in tmp_path.rglob("run.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"canaries": None}))
    assert canary_table(read_study(sweep, tmp_path), ["inflight"]) is None
    assert "Canaries" not in page(sweep, tmp_path)


def test_the_page_says_how_replies_differ_and_the_table_how_many(tmp_path):
    sweep = sweep_with(tmp_path, **OTHER)
    study = read_study(sweep, tmp_path)
    shares = [row[DIFFERENT] for row in cell_rows(study)]
    assert shares == [0, pytest.approx(1 / 7 / 2), 0]
    html = page(sweep, tmp_path)
    assert "share that differs" in html
    table = ElementTree.fromstring(
        details(html)[details(html).index("<table") : details(html).index("</table>")] + "</table>"
    )
    texts = [[cell.text for cell in row] for row in table.iter("tr")]
    assert len(texts) == 1 + 2 * 3
    assert texts[3] == ["inflight 2", "1", "16", "alike", "8", "1", "1 other", "6"]
    assert texts[4] == ["inflight 2", "2", "16", "alike", "6", "0", "–", "–"]


def test_texts_are_shown_side_by_side_and_escaped(tmp_path):
    sweep = sweep_with(tmp_path, **OTHER, output=UNDER_LOAD)
    html = page(sweep, tmp_path)
    assert Page(html).tags.count("mark") == 2
    part = details(html)
    assert "Alone it says &lt;b&gt;th<mark>i</mark>s&lt;/b&gt; &amp; goes" in part
    assert "Alone it says &lt;b&gt;th<mark>a</mark>t&lt;/b&gt; &amp; goes" in part
    assert "inflight 2: canary 1, repeat 2" in part


def test_only_what_is_around_the_difference_is_shown(tmp_path):
    at = 1000
    values = OTHER | {"canary_character": at, "output": "x" * at + "<"}
    sweep = sweep_with(tmp_path, **values)
    cell = cells(sweep)[1]
    folder = write_repeat(sweep, tmp_path, cell, 2, records(sweep, cell, 2, **values))
    kept(folder, "x" * 5000)
    (pair,) = canary_table(read_study(sweep, tmp_path), ["inflight"]).pairs
    assert (pair.under_load.at, pair.under_load.after) == ("<", "")
    assert pair.under_load.before == pair.alone.before == "…" + "x" * 200
    assert (pair.alone.at, pair.alone.after) == ("x", "x" * 199)


def test_a_reply_that_ends_too_early_says_so(tmp_path):
    sweep = sweep_with(tmp_path, **OTHER, output=ALONE[: OTHER["canary_character"]])
    (pair,) = canary_table(read_study(sweep, tmp_path), ["inflight"]).pairs
    assert pair.under_load.at == "[end]"


def test_texts_that_are_not_kept_are_not_shown(tmp_path):
    """Neither where one side alone has them: the reference is in `run.json`, replies in records."""
    sweep = sweep_with(tmp_path, **OTHER)
    assert canary_table(read_study(sweep, tmp_path), ["inflight"]).pairs == []
    assert "<mark>" not in page(sweep, tmp_path)


def test_of_too_many_rows_those_with_a_difference_are_shown(tmp_path):
    sweep = config(sweep={"inflight": [1, 2, 4]}, repeats=1)
    write_results(sweep, tmp_path)
    cell = cells(sweep)[2]
    many = ALIKE.model_copy(update={"references": [ALIKE.references[0]] * MOST_ROWS})
    for one in cells(sweep):
        values = OTHER | {"canary": 90} if one == cell else {}
        folder = write_repeat(sweep, tmp_path, one, 1, records(sweep, one, 1, **values))
        data = json.loads((folder / "run.json").read_text())
        data["canaries"] = many.model_dump()
        (folder / "run.json").write_text(json.dumps(data))
    shown = canary_table(read_study(sweep, tmp_path), ["inflight"])
    assert (len(shown.rows), shown.hidden) == (MOST_ROWS, 2 * MOST_ROWS)
    assert [row.figures[0] for row in shown.rows if row.differs] == ["91"]
