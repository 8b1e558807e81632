"""The page's script in a real browser: values, lines, and the table of cells asked."""

import itertools
import json
import re

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tests.browser.big_sweep import thousand_cells
from tests.browser.conftest import axe_report, show
from tests.unit.pages import Page
from tests.unit.synthetic import config, write_failure, write_repeat, write_results

from mls.analysis import intervals
from mls.analysis.comparison import MARGIN, SAME_MARGINS, judge_ratio
from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.report.pages.comparison import percent
from mls.report.pages.page import page as html_of
from mls.report.pages.page import render
from mls.report.pages.templating import templates

VISIBLE = "return [...document.querySelectorAll('#cells .cells tbody tr:not([hidden])')]"
NAMES = f"{VISIBLE}.filter(r => !r.querySelector('.message')).map(r => r.dataset.cell)"
MOST_BYTES = 10_000_000
SOON_S = 60


@pytest.fixture(scope="module")
def sweep():
    return config(
        sweep={"inflight": [2, 4, 8], "ranks": [2, 3]},
        run={"iters": 24, "max_tokens": 16},
        repeats=3,
        slo={"ttft_ms": {"p95": 200}},
        price={"per_hour": 2.5},
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory, sweep):
    """A page with a cell that has no result, and one of which a repeat has none."""
    results = tmp_path_factory.mktemp("results")
    write_results(sweep, results)
    first, second, *_ = cells(sweep)
    for cell, repeats in ((first, (1, 2, 3)), (second, (3,))):
        for repeat in repeats:
            (write_repeat(sweep, results, cell, repeat) / "run.json").unlink()
            write_failure(sweep, results, cell, repeat, "It failed.")
    render(sweep, results, results / "report.html")
    return results / "report.html"


@pytest.fixture(scope="module")
def study(sweep, page):
    return read_study(sweep, page.parent)


def ask(browser, text):
    """Type a filter; returns (numbers of the cells that are shown, what the page says of it)."""
    field = browser.find_element(By.ID, "filter")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text)
    said = browser.find_element(By.ID, "filter-state").text
    return [int(i) for i in browser.execute_script(NAMES)], said


def open_with(browser, page, choice):
    """Open the page by a link with a choice, as if for the first time."""
    browser.get("about:blank")
    browser.get(f"{page.as_uri()}{choice}")


def test_without_a_script_the_page_is_all_there(browser, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page, 1280)
        assert browser.find_elements(By.CSS_SELECTOR, ".ask, .plot, button, #cells input") == []
        assert len(browser.find_elements(By.CSS_SELECTOR, "#cells tbody tr[data-cell]")) == 6 + 2
        legends = browser.find_elements(By.CSS_SELECTOR, "[data-legend]")
        assert legends and all(legend.is_displayed() for legend in legends)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_another_script_does_not_run_and_this_one_does(browser, page, tmp_path):
    html = page.read_text()
    other = html.replace("<main>", "<main><script>window.hacked = 1</script>", 1)
    (tmp_path / "other.html").write_text(other)
    show(browser, tmp_path / "other.html", 1280)
    assert browser.execute_script("return window.hacked") is None
    assert browser.find_elements(By.ID, "filter")
    blocked = [entry["message"] for entry in browser.get_log("browser")]
    assert len(blocked) == 1 and "Content Security Policy" in blocked[0]


def test_what_the_script_adds_leaves_the_rest_where_it_is(browser, page):
    show(browser, page, 1280)
    look = (
        "return [...document.querySelectorAll('main *:not(.plot, .plot *, .spoken, .scroll *)')]"
        ".filter(e => getComputedStyle(e).position == 'absolute').map(e => e.outerHTML)"
    )
    assert browser.execute_script(look) == []


def test_every_drawing_can_be_read_by_keyboard(browser, page):
    show(browser, page, 1280)
    plots = browser.find_elements(By.CSS_SELECTOR, "figure .plot")
    assert len(plots) == len(browser.find_elements(By.CSS_SELECTOR, "figure svg[role=img]")) > 10
    for plot in plots:
        plot.send_keys(Keys.END, Keys.HOME)
        value = plot.find_element(By.CSS_SELECTOR, ".tip")
        said = plot.parent.execute_script("return arguments[0].nextSibling.textContent", plot)
        assert value.is_displayed() and re.search(r"\d", said)
        assert value.text.split() == said.split()
        plot.send_keys(Keys.ESCAPE)
        assert not value.is_displayed()


def test_arrow_keys_go_along_a_line_and_to_the_next(browser, page, study):
    show(browser, page, 1280)
    plot = browser.find_element(By.CSS_SELECTOR, "[data-plot=rate0] .plot")
    data = browser.execute_script(
        "return JSON.parse(document.querySelector('[data-plot=rate0] script').textContent)"
    )
    first, second = data["lines"]

    def press(key):
        plot.send_keys(key)
        return plot.find_element(By.CSS_SELECTOR, ".tip").text

    assert [text for *_, text in second["points"]] != [text for *_, text in first["points"]]
    spoken = [press(Keys.ARROW_RIGHT) for _ in first["points"]]
    for words, (*_, text) in zip(spoken, first["points"], strict=True):
        assert words.split() == f"{first['name']} · {text}".split()
    assert press(Keys.ARROW_DOWN).startswith(second["name"])
    assert second["points"][-1][2].split()[1] in press(Keys.END)


def test_the_value_under_the_pointer_is_the_nearest(browser, page, study):
    show(browser, page, 1280)
    plot = browser.find_element(By.CSS_SELECTOR, "[data-plot=trade0] .plot")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    spot = browser.execute_script(
        "const f = document.querySelector('[data-plot=trade0]'), s = f.querySelector('.plot svg');"
        "const p = JSON.parse(f.querySelector('script').textContent).lines[1].points[1];"
        "const m = new DOMPoint(p[0], p[1]).matrixTransform(s.getScreenCTM());"
        "const b = f.querySelector('.plot').getBoundingClientRect();"
        "return [m.x - b.x - b.width / 2, m.y - b.y - b.height / 2, p[2]]"
    )
    aim = (round(spot[0]) + 3, round(spot[1]) - 2)
    ActionChains(browser).move_to_element_with_offset(plot, *aim).perform()
    value = plot.find_element(By.CSS_SELECTOR, ".tip")
    soon = WebDriverWait(browser, SOON_S)  # moves come with the next frame
    soon.until(lambda _: value.is_displayed())
    assert value.text.split() == f"ranks 3 · {spot[2]}".split()
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, "h1")).perform()
    soon.until(lambda _: not value.is_displayed())


def test_a_line_is_hidden_by_its_legend_and_the_link_keeps_it(browser, page):
    show(browser, page, 1280)
    figure = "[data-plot=rate0]"
    buttons = browser.find_elements(By.CSS_SELECTOR, f"{figure} .legend button")
    assert [button.text for button in buttons] == ["ranks 2", "ranks 3"]
    buttons[0].send_keys(Keys.SPACE)
    for _ in range(2):
        pressed = browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(b => b.ariaPressed)",
            f"{figure} .legend button",
        )
        assert pressed == ["false", "true"]
        shown = [
            {line.is_displayed() for line in browser.find_elements(By.CSS_SELECTOR, selector)}
            for selector in (f"{figure} [data-line='0']", f"{figure} [data-line='1']")
        ]
        assert shown == [{False}, {True}]
        link = browser.execute_script("return location.hash")
        open_with(browser, page, link)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("inflight = 4", lambda c: c.cell["inflight"] == 4),
        ("Inflight>=4 and ranks != 2", lambda c: c.cell["inflight"] >= 4 and c.cell["ranks"] != 2),
        ("TTFT p95 < 150", lambda c: value(c, "ttft_ms.p95") < 150),
        ("ttft p95 < 0.15 s; ranks=3", lambda c: value(c, "ttft_ms.p95") < 150 and c.cell["ranks"] == 3),
        ("TTFT p95 ≥ 150 ms", lambda c: value(c, "ttft_ms.p95", -1) >= 150),
        ("verdict = fail", lambda c: c.verdict == "fail"),
        ("verdict != fail, inflight 8", lambda c: c.verdict != "fail" and c.cell["inflight"] == 8),
        ("repeats < 3", lambda c: len(c.ok) < 3),
        ("", lambda c: True),
    ],
)  # fmt: skip
def test_the_filter_shows_the_cells_that_meet_its_conditions(browser, page, study, text, holds):
    show(browser, page, 1280)
    fits = [i for i, cell in enumerate(study.cells) if holds(cell)]
    shown, said = ask(browser, text or Keys.DELETE)
    assert (shown, said) == (fits, f"{len(fits)} of 6 cells")
    assert len(fits) > 0


def value(cell, metric, unknown=float("inf")):
    return cell.estimates[metric].value if metric in cell.estimates else unknown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TTFT p59 < 3", "There is no column “TTFT p59”."),
        ("inflight < many", "“<” wants a number, not “many”."),
        ("inflight <", "“<” wants a number, not “”."),
    ],
)
def test_a_condition_that_means_nothing_is_said_and_hides_nothing(browser, page, text, said):
    show(browser, page, 1280)
    assert ask(browser, text) == ([0, 1, 2, 3, 4, 5], said)
    assert browser.find_element(By.ID, "filter").get_attribute("aria-invalid") == "true"


def test_headings_sort_and_what_is_unknown_comes_last(browser, page, study):
    show(browser, page, 1280)
    known = {i: value(c, "latency_ms.p95") for i, c in enumerate(study.cells) if c.ok}
    up = sorted(known, key=known.get)
    unknown = [i for i in range(6) if i not in known]
    assert unknown
    heading = "//section[@id='cells']//thead//th[contains(., 'Latency p95')]"
    for order, sort in (
        (up + unknown, "ascending"),
        (up[::-1] + unknown, "descending"),
        ([*range(6)], None),
    ):
        browser.find_element(By.XPATH, f"{heading}/button").send_keys(Keys.ENTER)
        assert [int(i) for i in browser.execute_script(NAMES)] == order
        assert browser.find_element(By.XPATH, heading).get_attribute("aria-sort") == sort
        rows = browser.execute_script(f"{VISIBLE}.map(r => r.dataset.cell)")
        assert [k for k, _ in itertools.groupby(rows)] == [str(i) for i in order]  # messages too


def test_two_cells_are_compared_as_by_python_and_the_link_keeps_all(browser, page, study):
    show(browser, page, 1280)
    ask(browser, "ranks = 2")
    picks = browser.find_elements(By.CSS_SELECTOR, "#cells .cells tbody input")
    for i in (3, 2, 4):  # the first of three is let go
        browser.execute_script("arguments[0].click()", picks[i])
    base, new = study.cells[2], study.cells[4]
    for _ in range(2):
        rows = browser.find_elements(By.CSS_SELECTOR, ".two tbody tr")
        texts = [[cell.text for cell in row.find_elements(By.XPATH, "*")] for row in rows]
        assert [row[0] for row in texts][:2] == ["Throughput", "Mean latency"]
        for name, metric in (("Throughput", study.rate.metric), ("TTFT p95", "ttft_ms.p95")):
            ratio = intervals.ratio(new.values(metric), base.values(metric))
            worse = ratio.inverse() if name == "Throughput" else ratio
            (row,) = [row for row in texts if row[0] == name]
            assert row[3].split() == percent(ratio).split()
            assert row[4].endswith(judge_ratio(worse, MARGIN))
        assert [int(i) for i in browser.execute_script(NAMES)] == [0, 2, 4]
        open_with(browser, page, browser.execute_script("return location.hash"))


CASES = [
    ([1.0, 1.1, 1.3], [0.9, 1.0, 1.2]),
    ([100.0, 100.0], [90.0, 90.0]),
    ([5.0, 5.2], [5.0, 5.1, 5.3, 4.7, 5.2]),
    ([3.0], [2.0, 2.5]),
    ([1e-3, 2e-3], [3e3, 1e3, 2e3]),
    ([1.0, 1.0], [1.0, 2.0]),
    ([], [1.0]),
    ([0.0, 1.0], [1.0, 2.0]),
    ([1 + i % 7 / 50 for i in range(40)], [1 + i % 5 / 50 for i in range(60)]),
    ([1.0, 1.001, 0.999], [1.0, 1.002, 0.998]),
]


def test_the_scripts_intervals_and_findings_are_those_of_python(browser, page):
    show(browser, page, 1280)
    environment = templates()
    source = "".join(
        environment.loader.get_source(environment, f"script/{name}.js")[0]
        for name in ("common", "welch")
    )
    ask_script = (
        f"{source} return JSON.parse(arguments[0]).map(([a, b]) => {{ const r = ratio(a, b, 0.95);"
        f" return r && [r, finding(r, false, {MARGIN}, {SAME_MARGINS}), percent(r)]; }});"
    )
    answers = browser.execute_script(ask_script, json.dumps(CASES))
    for (values, base), of_page in zip(CASES, answers, strict=True):
        ratio = intervals.ratio(values, base)
        if ratio is None:
            assert of_page is None
            continue
        figures, found, words = of_page
        for end in ("value", "low", "high"):
            expected = getattr(ratio, end)
            assert figures[end] == (expected and pytest.approx(expected, rel=1e-8))
        assert found == judge_ratio(ratio, MARGIN)
        assert words == percent(ratio)


def test_a_thousand_cells_can_be_asked(browser, tmp_path):
    study = thousand_cells(tmp_path)
    html = html_of(study, tmp_path)
    assert len(html.encode()) < MOST_BYTES
    Page(html)
    (tmp_path / "report.html").write_text(html)
    show(browser, tmp_path / "report.html", 1280)
    verdicts = {cell.verdict for cell in study.cells}
    verdict = study.cells[0].verdict
    within = [
        i
        for i, c in enumerate(study.cells)
        if c.estimates["ttft_ms.p95"].value < 300 and c.verdict == verdict
    ]
    assert 0 < len(within) < len(study.cells) == 1000, verdicts
    assert ask(browser, f"verdict = {verdict}, TTFT p95 < 300") == (
        within,
        f"{len(within)} of 1000 cells",
    )
    assert [entry["message"] for entry in browser.get_log("browser")] == []


# the other two of width and scheme are in test_page.py, with the same style sheet
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_axe_finds_nothing_in_what_was_asked(browser, page, width, scheme):
    show(browser, page, width, scheme)
    ask(browser, "TTFT p59 < 3" if width == 390 else "ranks = 3")
    browser.execute_script(
        "document.querySelectorAll('#cells details').forEach(d => d.open = true);"
        "document.querySelectorAll('#cells .cells tbody input').forEach((b, i) => i > 3 && b.click());"
        "document.querySelector('#cells .cells thead button').click();"
        "document.querySelector('.legend button').click();"
    )
    browser.find_element(By.CSS_SELECTOR, "figure .plot").send_keys(Keys.END)
    report = axe_report(browser)
    bad = [
        (rule["id"], rule["impact"], node["target"], node["failureSummary"][:200])
        for rule in report["violations"]
        for node in rule["nodes"][:3]
    ]
    assert bad == []


def test_axe_finds_nothing_without_a_script(browser, page, tmp_path):
    silent = tmp_path / "silent.html"
    silent.write_text(re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL))
    show(browser, silent, 1280)
    report = axe_report(browser)
    assert [rule["id"] for rule in report["violations"]] == []
