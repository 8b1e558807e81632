"""Two sets of results compared: of one server, a slower one, and another. Seeds are fixed."""

import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.comparisons import folder_of
from tests.unit.pages import Page
from tests.unit.synthetic import (
    Load,
    config,
    facts,
    table,
    write_repeat,
)

from mls.analysis.comparison import LATENCIES, ORDER, Metric, change, compare, judge_ratio
from mls.analysis.intervals import Estimate
from mls.analysis.repeat.summary import summarize
from mls.analysis.result_sets import opened
from mls.analysis.tables import aggregate
from mls.commands.compare import WORSE, compare_results
from mls.config.cells import cells
from mls.core.errors import UserError
from mls.report.archive.archive import archive
from mls.report.pages.page import render

pytestmark = pytest.mark.slow

RATE = Metric("throughput.completion_tokens_per_s", "Throughput", "tokens/s", True)
BETWEEN = 0.02
"""Standard deviation between repeats of one server on a quiet machine."""


def repeat_figures(rng, slower=1.0, repeats=5):
    """Throughput and mean latency of repeats of one server, each with its own level and noise."""
    figures = []
    for _ in range(repeats):
        pace = slower * (1 + BETWEEN * rng.standard_normal())
        load = Load(places=4, requests=40, tokens=8, ttft_ms=50 * pace, itl_ms=10 * pace,
                    noise=0.2, seed=int(rng.integers(2**32)))  # fmt: skip
        summary = summarize(table(load), facts(4))
        figures.append((summary.throughput.completion_tokens_per_s, summary.latency_ms.mean))
    return np.array(figures).T


def findings(slower, repeats=5, seeds=range(20)):
    overall = []
    for seed in seeds:
        rng = np.random.default_rng([7, seed])
        base, new = repeat_figures(rng, 1.0, repeats), repeat_figures(rng, slower, repeats)
        pair = (
            change(RATE, base[0], new[0], 0.05).finding,
            change(LATENCIES[0], base[1], new[1], 0.05).finding,
        )
        overall.append(next(finding for finding in ORDER if finding in pair))
    return overall


def test_two_runs_of_the_same_thing_are_the_same():
    assert findings(1.0).count("same") >= 19


def test_a_server_that_is_10_percent_slower_is_worse():
    assert findings(1.1).count("worse") >= 18


def test_a_server_that_is_10_percent_faster_is_better():
    assert findings(1 / 1.1).count("better") >= 18


def test_a_single_repeat_can_tell_nothing():
    assert set(findings(1.1, repeats=1, seeds=range(3))) == {"can't tell"}


@given(st.floats(0.2, 5), st.floats(1.0001, 3), st.floats(1.0001, 3), st.floats(0.001, 0.5))
def test_worse_and_better_mirror_each_other(value, below, above, margin):
    one = Estimate(value, value / below, value * above, 3)
    other = Estimate(1 / value, 1 / (value * above), below / value, 3)
    mirror = {"worse": "better", "better": "worse"}
    finding = judge_ratio(one, margin)
    assert judge_ratio(other, margin) == mirror.get(finding, finding)


@pytest.mark.parametrize(
    ("estimate", "finding"),
    [
        (Estimate(1.10, 1.05, 1.15, 3), "worse"),
        (Estimate(1.10, 0.99, 1.21, 3), "can't tell"),
        (Estimate(1.03, 1.01, 1.05, 3), "same"),
        (Estimate(1.03, 0.80, 1.30, 3), "can't tell"),
        (Estimate(0.90, 0.85, 0.95, 3), "better"),
        (Estimate(1.00, None, None, 1), "can't tell"),
    ],
)
def test_findings(estimate, finding):
    assert judge_ratio(estimate, 0.05) == finding


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(base, the same config on a server 20 % slower)."""
    sweep = config(repeats=4)
    root = tmp_path_factory.mktemp("pair")
    return folder_of(sweep, root / "base"), folder_of(sweep, root / "slower", 1.2), sweep


def test_folders_are_compared_cell_by_cell_with_an_exit_status(pair, tmp_path, capsys):
    base, slower, _ = pair
    page = tmp_path / "compare.html"
    assert compare_results(base, slower, page, "5%") == WORSE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("worse")] == ["worse"] * 3
    assert "throughput −1" in lines[0]
    assert compare_results(slower, base, page, "5%") == 0
    assert compare_results(base, slower, page, "30%") == 0
    assert compare_results(base, slower, page, None) == 0


def test_json_has_the_figures_and_their_intervals(pair, tmp_path, capsys):
    base, slower, _ = pair
    assert compare_results(base, slower, tmp_path / "compare.html", "5%", "json") == WORSE
    data = json.loads(capsys.readouterr().out)
    assert (data["margin"], data["tally"]) == (0.05, {"worse": 3})
    for cell in data["cells"]:
        throughput = next(f for f in cell["figures"] if f["title"] == "Throughput")
        ratio = throughput["ratio"]
        assert ratio["low"] < 1 / 1.2 < ratio["high"] < 1
        assert throughput["new"]["value"] < throughput["base"]["value"]
        assert (throughput["finding"], cell["finding"]) == ("worse", "worse")


def test_markdown_has_a_row_for_each_cell_the_worst_first(pair, tmp_path, capsys):
    base, slower, _ = pair
    compare_results(base, slower, tmp_path / "compare.html", None, "markdown")
    lines = capsys.readouterr().out.splitlines()
    table_rows = [line for line in lines if line.startswith("| ")]
    assert len({line.count("|") for line in table_rows[:5]}) == 1
    assert [line.split("|")[2].split()[0] for line in table_rows[2:5]] == ["✗"] * 3
    assert lines[0] == "### Benchmark: 3 ✗ worse"


def test_markdown_shows_what_a_server_says_as_text(pair, tmp_path, capsys):
    base, _, _ = pair
    evil = "</details> | `x` [a](http://b) @someone <img src=x>\nnext ![i](http://c)"
    hostile = shutil.copytree(base, tmp_path / "hostile")
    for path in hostile.rglob("run.json"):
        data = json.loads(path.read_text())
        data["server"]["before"]["build"] = evil
        path.write_text(json.dumps(data))
    compare_results(base, hostile, tmp_path / "compare.html", None, "markdown")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "@someone" in line]
    what, _, build = (cell.strip() for cell in line.strip("|").split("|"))
    assert what == "`server.build`"
    assert build.startswith("`</details>") and build.endswith("`") and build.count("`") == 2


def test_results_are_the_same_as_themselves(pair, tmp_path, capsys):
    base, _, _ = pair
    assert compare_results(base, base, tmp_path / "compare.html", "5%") == 0
    *lines, replies = capsys.readouterr().out.splitlines()
    assert all(line.startswith("same") for line in lines)
    assert replies == "Both greedy replies alone are the same (32 tokens)."
    assert "Nothing that is recorded" in (tmp_path / "compare.html").read_text()


def test_an_archive_is_as_good_as_its_folder(pair, tmp_path, capsys):
    base, slower, sweep = pair
    aggregate(sweep, base)
    render(sweep, base, base / "report.html")
    zip_path = archive(sweep, base)
    for side in (base, zip_path):
        compare_results(side, slower, tmp_path / "compare.html", None)
    one, other = np.array_split(capsys.readouterr().out.splitlines(), 2)
    assert list(one) == list(other)


def test_the_page_is_complete_and_loads_nothing(pair, tmp_path):
    base, slower, _ = pair
    compare_results(base, slower, tmp_path / "compare.html", None)
    html = (tmp_path / "compare.html").read_text()
    tree = Page(html)
    assert not {"script", "iframe", "img"} & set(tree.tags)
    text = "".join(tree.text)
    for cell in ("inflight 1", "inflight 2", "inflight 4"):
        assert cell in text
    assert re.search(r"✗ worse", text)
    assert "Change of throughput" in text


def test_what_differs_is_told(pair, tmp_path, capsys):
    base, _, _ = pair
    other = folder_of(
        config(repeats=4, run={"iters": 32, "max_tokens": 32, "prompt_words": 40}), tmp_path / "new"
    )
    for path in other.rglob("run.json"):
        data = json.loads(path.read_text())
        data["server"]["before"]["build"] = "b7000-new"
        path.write_text(json.dumps(data))
    compare_results(base, other, tmp_path / "compare.html", None)
    output = capsys.readouterr().out
    assert "differs: server.build: b6500-abc → b7000-new" in output
    assert "differs: settings.run.prompt_words: 48 → 40" in output
    assert "inflight:" not in output


def test_cells_of_one_side_only_are_named(pair, tmp_path, capsys):
    base, _, _ = pair
    more = folder_of(config(repeats=4, sweep={"inflight": [2, 8]}), tmp_path / "new")
    compare_results(base, more, tmp_path / "compare.html", None)
    output = capsys.readouterr().out
    assert "only in new: smollm2 · inflight 8" in output
    assert "only in base: smollm2 · inflight 1" in output


def test_a_failed_check_is_told_beside_the_change(pair, tmp_path):
    base, _, sweep = pair
    new = folder_of(sweep, tmp_path / "new")
    for repeat in range(1, 5):
        write_repeat(sweep, new, cells(sweep)[2], repeat, table(Load(places=1, tokens=32)))
    with opened(base) as before, opened(new) as after:
        comparison = compare(before.study, after.study)
    assert "concurrency_held" in comparison.cells[2].distrusted
    assert comparison.cells[0].distrusted == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p, "holds no results"),
        (lambda p: p / "absent", "can't be read"),
        (lambda p: (p / "x.zip").write_bytes(b"no zip") and p / "x.zip", "neither a folder"),
        (lambda p: (p / "runs" / "name~a" / "b").mkdir(parents=True) or p, "no finished run"),
        (
            lambda p: [(p / "runs" / f"name~{n}").mkdir(parents=True) for n in "ab"] and p,
            "several sweeps .a, b.",
        ),
    ],
    ids=["empty", "absent", "no zip", "no run", "two sweeps"],
)
def test_what_cannot_be_compared_is_one_sentence(pair, tmp_path, make, words):
    with pytest.raises(UserError, match=words):
        compare_results(pair[0], make(tmp_path), tmp_path / "compare.html", None)


@pytest.mark.parametrize("text", ["5", "five%", "-5%", "0%"])
def test_a_limit_that_is_no_percentage_is_one_sentence(pair, tmp_path, text):
    with pytest.raises(UserError, match="expected a percentage above 0 such as 5%"):
        compare_results(pair[0], pair[0], tmp_path / "compare.html", text)


def test_one_of_several_sweeps_in_a_folder_can_be_named(tmp_path, capsys):
    for name in ("one", "other"):
        folder_of(config(name=name, repeats=2), tmp_path)
    sides = [tmp_path / "runs" / f"name~{name}" for name in ("one", "other")]
    assert compare_results(*sides, tmp_path / "compare.html", "20%") == 0
    assert "inflight 4" in capsys.readouterr().out
