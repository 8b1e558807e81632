"""The page as text: complete, escaped, self-contained, the same each time."""

import csv
import hashlib
import io
import json
import re
from base64 import b64encode
from html import unescape
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from tests.unit.pages import Page, page, text_page
from tests.unit.synthetic import (
    Load,
    config,
    embeddings,
    rows,
    table,
    to_table,
    write_failure,
    write_json,
    write_repeat,
    write_results,
)

from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.core.digest import data_sha256, file_sha256
from mls.core.errors import UserError
from mls.report.pages.templating import script
from mls.report.plots.svg import inline, style

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    results = tmp_path_factory.mktemp("default")
    sweep = config(repeats=3, sweep={"inflight": [1, 2, 4, 8]}, run={"iters": 24, "max_tokens": 32})
    write_results(sweep, results)
    return sweep, results, page(sweep, results)


def test_the_answer_comes_first_then_figures_then_method(default):
    _, _, html = default
    order = [
        "answer",
        "throughput",
        "latency",
        "distributions",
        "timeline",
        "cells",
        "checks",
        "how",
    ]
    places = [html.index(f'id="{name}"') for name in order]
    assert places == sorted(places)


def test_nothing_is_loaded_from_elsewhere(default):
    tree = Page(default[2])
    assert not {"iframe", "object", "embed", "img"} & set(tree.tags)
    for name, value in tree.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action"):
            assert value.startswith(("#", "data:")), (name, value)
    urls = re.findall(r"url\(([^)]*)\)", default[2])
    assert all(url.startswith(("#", "%23")) for url in urls)  # the latter in downloads
    assert "@import" not in default[2]
    assert "default-src 'none'" in unescape(default[2])


def test_tags_match_and_ids_are_unique(default):
    tree = Page(default[2])
    markers = [i for i in tree.ids if not re.fullmatch(r"[mp][0-9a-f]{10}", i)]
    assert len(markers) == len(set(markers))
    references = [v[1:] for n, v in tree.attributes if n in ("href", "xlink:href") and v[0] == "#"]
    assert set(references) <= set(tree.ids)


def test_every_drawing_has_a_text_for_those_who_cannot_see_it(default):
    drawings = re.findall(r"<svg .*?</svg>", default[2], flags=re.DOTALL)
    assert len(drawings) >= 10
    for drawing in drawings:
        assert 'role="img"' in drawing
        assert re.search(r"<title[^>]*>.+?</title>", drawing)
        description = re.search(r"<desc[^>]*>(.+?)</desc>", drawing)[1]
        assert re.search(r"\d", description)


def test_the_default_sweep_stays_small_and_the_same(default):
    sweep, results, html = default
    assert len(html.encode()) < 1_000_000
    assert page(sweep, results) == html


def test_drawings_are_thinned_and_statistics_are_not(tmp_path):
    sweep = config(repeats=1, sweep={}, run={"inflight": 4, "iters": 4000, "max_tokens": 4})
    load = Load(places=4, requests=4000, tokens=4, noise=0.3, late_ms=1)
    write_repeat(sweep, tmp_path, cells(sweep)[0], 1, table(load))
    html = page(sweep, tmp_path)
    paths = re.findall(r' d="([^"]*)"', html)
    assert max(path.count("L") for path in paths) < 2500
    assert len(html) < 1_000_000


def test_colours_follow_the_scheme(default):
    html = default[2]
    assert "prefers-color-scheme: dark" in html
    drawings = "".join(re.findall(r"<svg .*?</svg>", html, flags=re.DOTALL))
    assert not re.findall(r"#0a0[0-2][0-9a-f]{2}\b", drawings)
    colours = set(re.findall(r"var\(--([a-z0-9]+)\)", drawings))
    for name in colours:
        assert html.count(f"--{name}:") >= 2, name  # light and dark


def test_config_environment_server_model_and_digests_are_there(default):
    _, results, html = default
    for text in ("MPICH", "package-39", "b" * 64, "b6500-abc", "max_tokens: 32", "4 slots only"):
        assert text in html
    for path in results.glob("runs/**/run.json"):
        assert file_sha256(path) in html


def test_what_is_not_there_is_called_not_recorded(tmp_path):
    sweep = config(repeats=1)
    for cell in cells(sweep):
        write_repeat(sweep, tmp_path, cell, 1)
    assert text_page(sweep, tmp_path).count("Not recorded.") == 4


@pytest.mark.parametrize("data", [[], 3, "text", None, {"warnings": 3}, {"warnings": {"a": 1}}])
def test_recorded_facts_of_any_shape(tmp_path, data):
    sweep = config(repeats=1)
    write_json(tmp_path / "environment" / "environment.json", data)
    write_json(tmp_path / "probe" / "smollm2.json", data)
    Page(text_page(sweep, tmp_path))


def test_failed_cells_are_visible_with_their_message(tmp_path):
    sweep = config()
    write_results(sweep, tmp_path)
    cell = cells(sweep)[1]
    folder = write_repeat(sweep, tmp_path, cell, 2)
    (folder / "run.json").unlink()
    write_failure(sweep, tmp_path, cell, 2, "The server died while loading: out of memory.")
    html = text_page(sweep, tmp_path)
    assert html.count("out of memory") == 2  # at the top, and in the table of cells
    assert "1 of 3 cells is incomplete" in html


def test_a_failed_check_is_beside_each_number_of_its_cell(tmp_path):
    sweep = config()
    write_results(sweep, tmp_path)
    for repeat in (1, 2):
        write_repeat(sweep, tmp_path, cells(sweep)[2], repeat, table(Load(places=1, tokens=32)))
    html = text_page(sweep, tmp_path)
    body = html[html.index('id="cells"') : html.index('id="checks"')]
    row = re.findall(r"<tr[^>]*>.*?</tr>", body, flags=re.DOTALL)[-1]
    figures = re.findall(r"<td>(.*?)</td>", row, flags=re.DOTALL)[:-1]
    assert len(figures) > 8
    for figure in figures:
        assert "✗" in figure or figure.startswith("–")
    assert "concurrency held" in row


def test_without_a_cell_to_rely_on_there_is_no_front(tmp_path):
    sweep = config(sweep={"inflight": [2, 4]})
    write_results(sweep, tmp_path)
    assert "On the front, which no other cell beats in both: " in text_page(sweep, tmp_path)
    for cell in cells(sweep):
        for repeat in (1, 2):
            write_repeat(sweep, tmp_path, cell, repeat, table(Load(places=1, tokens=32)))
    html = text_page(sweep, tmp_path)
    assert "There is no front: a check failed on every cell." in html
    assert "On the front" not in html and "Pareto front" not in html


def test_hostile_texts_are_escaped(tmp_path):
    sweep = config(title='<script>alert(1)</script> $x$ & "quotes"')
    write_results(sweep, tmp_path)
    evil = "<img src=x onerror=alert(2)>"
    write_json(tmp_path / "probe" / "smollm2.json", {"warnings": [evil], evil: evil})
    write_json(tmp_path / "environment" / "environment.json", {"a": [{"b": evil}, {"b": 1}]})
    cell = cells(sweep)[0]
    (write_repeat(sweep, tmp_path, cell, 1) / "run.json").unlink()
    write_failure(sweep, tmp_path, cell, 1, evil)
    tree = Page(page(sweep, tmp_path))
    assert "img" not in tree.tags
    assert_only_our_script(tree)
    assert evil in "".join(tree.text)


def assert_only_our_script(tree):
    assert [content for kind, content in tree.scripts if kind is None] == [script()]
    for kind, content in tree.scripts:
        if kind is not None:
            assert kind == "application/json"
            json.loads(content)
            assert not {*"<>&"} & {*content}


def test_the_policy_allows_the_pages_own_script_and_no_other(default):
    (text,) = [content for kind, content in Page(default[2]).scripts if kind is None]
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', default[2])[1]
    rules = dict(rule.split(" ", 1) for rule in unescape(policy).split("; "))
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "</script" not in text and "<!--" not in text  # else the tag would end elsewhere


def test_every_drawing_has_its_values_within_it(default):
    drawings = re.findall(
        r'viewBox="0 0 ([0-9.]+) ([0-9.]+)".*?<script type="application/json">(.*?)</script>',
        default[2],
        flags=re.DOTALL,
    )
    assert len(drawings) == default[2].count("<figure ")
    for width, height, text in drawings:
        points = [point for line in json.loads(text)["lines"] for point in line["points"]]
        assert points
        for x, y, words in points:
            assert 0 <= x <= float(width) and 0 <= y <= float(height)
            assert re.search(r"\d", words)


def test_the_values_of_a_drawing_are_where_they_are_drawn(default):
    drawing = default[2][default[2].index('data-plot="rate0"') :]
    markers = re.findall(r'<use xlink:href="#m\w+" x="([0-9.]+)" y="([0-9.]+)"',
                         drawing[drawing.index('data-line="0"') :])[:4]  # fmt: skip
    values = json.loads(re.search(r"application/json\">(.*?)</script>", drawing)[1])
    for (x, y), (at_x, at_y, _) in zip(markers, values["lines"][0]["points"], strict=True):
        assert (float(x), float(y)) == pytest.approx((at_x, at_y), abs=0.1)


def test_what_the_model_said_is_shown_when_it_was_kept_and_escaped(tmp_path, default):
    sweep = config(sweep={}, repeats=1, run={"keep_output": True})
    evil = "</pre><script>alert(3)</script>"
    records = [row | {"output": evil} for row in rows(Load(requests=40, tokens=4))]
    write_repeat(sweep, tmp_path, cells(sweep)[0], 1, to_table(records))
    tree = Page(text_page(sweep, tmp_path))
    assert_only_our_script(tree)
    assert "".join(tree.text).count(evil) == 2
    assert "What the model said" not in default[2]


def test_a_dollar_in_a_name_is_no_formula_and_an_angle_bracket_no_tag():
    with style():
        figure = Figure(figsize=(2, 2))
        figure.subplots().set_xlabel("<b>$x$")
        svg = inline(figure, "name", "<i>", "&").svg
    assert "&lt;b&gt;$x$" in svg
    assert "&lt;i&gt;" in svg
    assert "<b>" not in svg


@pytest.mark.parametrize(
    "keys",
    [
        {"sweep": {}, "repeats": 1},
        {"sweep": {"ranks": [2, 3, 5]}, "run": {"inflight": 4, "iters": 16}},
        {"sweep": {"ranks": [2, 3], "inflight": [2, 4], "max_tokens": [8, 16]}},
        {"sweep": {"stream": [True, False]}},
        {"sweep": {"dispatch": ["auto", "static", "messages"]}},
        {
            "models": {"a": {"path": "a"}, "b": {"path": "b"}},
            "sweep": {"model": ["a", "b"], "inflight": [1, 2], "prompt_words": [8, 16, 32, 64]},
        },
    ],
    ids=["one", "ranks", "three axes", "stream", "words", "many lines"],
)
def test_any_sweep_has_a_page(tmp_path, keys):
    sweep = config(**({"repeats": 2} | keys))
    write_results(sweep, tmp_path)
    Page(page(sweep, tmp_path))


def test_effect_of_ranks_has_a_section_only_when_ranks_vary(tmp_path, default):
    sweep = config(repeats=1, sweep={"ranks": [2, 3], "inflight": [2, 4]})
    write_results(sweep, tmp_path)
    assert "Effect of ranks" in text_page(sweep, tmp_path)
    assert "Effect of ranks" not in default[2]


def test_of_embeddings_the_page_counts_requests(tmp_path):
    run = {"iters": 32, "endpoint": "/v1/embeddings"}
    sweep = config(run=run, sweep={"inflight": [1, 2]})
    for cell in cells(sweep):
        for repeat in (1, 2):
            write_repeat(sweep, tmp_path, cell, repeat, to_table(embeddings()))
    text = " ".join(Page(page(sweep, tmp_path)).text)
    assert "requests/s" in text and "replies were embeddings" in text
    assert "TTFT" not in text.partition("How it was measured")[0]
    assert " tokens/s" not in text


def test_replies_that_were_not_streamed_have_no_ttft_in_the_page(tmp_path):
    sweep = config(repeats=2, run={"stream": False, "iters": 16, "max_tokens": 8})
    write_results(sweep, tmp_path)
    html = page(sweep, tmp_path)
    assert "TTFT p50" not in html
    assert "Latency p50" in html


def test_stages_have_a_drawing_and_a_table(tmp_path):
    sweep = config(sweep={}, repeats=1)
    records = [row | {"stage": row["job"] // 20} for row in rows(Load(requests=40, tokens=4))]
    write_repeat(sweep, tmp_path, cells(sweep)[0], 1, to_table(records))
    html = text_page(sweep, tmp_path)
    body = html[html.index('id="parts"') : html.index('id="cells"')]
    assert "stage 1" in body and "stage 2" in body
    assert body.count("<figure ") == body.count('.svg"') == 1


def downloads(html, kind):
    """File name → content, of all downloads of a kind."""
    links = re.findall(rf'download="([^"]+\.{kind})" href="data:[^,]*,([^"]*)"', html)
    return {name: unquote(unescape(content)) for name, content in links}


def test_every_drawing_can_be_downloaded_as_svg_and_its_data_as_csv(default):
    html = default[2]
    drawings, data = downloads(html, "svg"), downloads(html, "csv")
    assert len(drawings) == html.count("<figure ") == len(data) >= 10
    for text in drawings.values():
        ElementTree.fromstring(text)
        assert "var(--" not in text
    for text in data.values():
        header, *rows = csv.reader(io.StringIO(text))
        assert rows and all(len(row) == len(header) for row in rows)


def test_the_data_of_a_drawing_are_the_estimates(default):
    sweep, results, html = default
    study = read_study(sweep, results)
    rows = list(csv.DictReader(io.StringIO(downloads(html, "csv")["by0-latency_ms.csv"])))
    values = {(row["inflight"], row["metric"]): float(row["value"]) for row in rows}
    for cell in study.cells:
        for name in ("latency_ms.p50", "latency_ms.p95"):
            value = cell.estimates[name].value
            assert values[str(cell.cell["inflight"]), name] == pytest.approx(value, rel=1e-5)


def test_requests_over_time_are_all_there_when_there_are_few(default):
    rows = list(csv.DictReader(io.StringIO(downloads(default[2], "csv")["requests0.csv"])))
    assert len(rows) == 4 * 24
    assert all(float(row["ttft_ms"]) < float(row["latency_ms"]) for row in rows)


def test_percentiles_of_too_few_requests_are_marked(default):
    body = default[2][default[2].index('id="cells"') : default[2].index('id="checks"')]
    assert '<span class="guess">≈ ' in body
    assert "too few requests: needs 299" in body  # p99 of 72
    assert "needs 59" not in body  # p95 of 72


def test_the_methods_paragraph_and_the_citation_say_what_was_done(default):
    _, results, html = default
    cite = html[html.index('id="cite"') :]
    assert "in 3 independent repeats of 24 requests" in cite
    assert "build b6500-abc" in cite
    assert "@misc{synthetic-" in cite
    runs = sorted(file_sha256(path) for path in results.glob("runs/**/run.json"))
    assert data_sha256(runs) in cite


def test_the_page_compares_with_the_baseline(tmp_path):
    base = tmp_path / "base"
    write_results(config(), base)
    sweep = config(baseline=str(base))
    write_results(sweep, tmp_path / "new")
    html = text_page(sweep, tmp_path / "new")
    body = html[html.index('id="baseline"') : html.index('id="cells"')]
    assert body.count("= same") > 3
    with pytest.raises(UserError, match="can't be read"):
        text_page(config(baseline=str(tmp_path / "absent")), tmp_path / "new")


def test_an_open_loop_has_no_number_in_flight_in_its_heading(tmp_path):
    load = {"kind": "poisson", "rate": 5.0}
    plan = config(repeats=3, load=load, sweep={}, run={"iters": 24, "max_tokens": 32})
    write_results(plan, tmp_path)
    text = " ".join(Page(page(plan, tmp_path)).text)
    assert "At this load: " in text
    assert "an open loop (Poisson arrivals)" in text
    assert "inflight 4" not in text


def test_rows_left_out_of_a_workload_are_on_the_page_once(tmp_path):
    plan = config(repeats=2, sweep={"inflight": [1, 2]}, run={"iters": 24, "max_tokens": 32})
    write_results(plan, tmp_path)
    note = "workload.file: <p>.jsonl is used in part: 2 of 5 rows can't be used."
    for path in tmp_path.rglob("run.json"):
        result = json.loads(path.read_text())
        result["workload"]["notes"] = [note]
        path.write_text(json.dumps(result))
    assert " ".join(Page(text_page(plan, tmp_path)).text).count(note) == 1
