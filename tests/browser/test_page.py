"""The page in a real browser: it fits, loads nothing, logs nothing, and can be read."""

from urllib.parse import unquote

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from tests.browser.conftest import axe_report, show
from tests.unit.differences import OTHER, UNDER_LOAD, kept, records
from tests.unit.synthetic import config, write_failure, write_repeat, write_results

from mls.config.cells import cells
from mls.report.pages.page import render

WIDER_THAN_PAGE = """
const room = document.documentElement.clientWidth + 0.5;
const scrolls = e => e && (["auto", "scroll"].includes(getComputedStyle(e).overflowX)
                           || scrolls(e.parentElement));
return [...document.body.querySelectorAll("*")]
    .filter(e => e.getBoundingClientRect().right > room && !scrolls(e))
    .map(e => e.tagName + "." + e.getAttribute("class") + ": " + e.textContent.slice(0, 40));
"""

SMALLEST_TEXT = """
return Math.min(...[...document.querySelectorAll("svg text")].map(t =>
    parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getBoundingClientRect().width
    / t.ownerSVGElement.viewBox.baseVal.width));
"""

CONTRASTS = """
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92
    : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
const ground = e => { for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
    return [255, 255, 255]; };
const low = [];
for (const e of document.querySelectorAll("p, li, td, th, h1, h2, h3, small, span, b, dt, dd, svg text")) {
    if (!e.textContent.trim() || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), svg = e.ownerSVGElement;
    const a = light(rgb(svg ? style.fill : style.color).slice(0, 3));
    const b = light(ground(e).slice(0, 3));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push([ratio.toFixed(2), e.tagName, e.textContent.slice(0, 30)]);
}
return low;
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with everything a page can have: two models, ranks, a failed check and repeat.

    A reply to a canary differs, and its text is kept.
    """
    results, base = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("base")
    write_results(config(run={"iters": 24, "max_tokens": 16}), base)
    models = {"smollm2": {"path": "a"}, "gemma3-270m-with-a-long-name": {"path": "b"}}
    sweep = config(
        title="Two models on one server",
        models=models,
        sweep={"model": list(models), "inflight": [2, 8], "ranks": [2, 3]},
        run={"iters": 24, "max_tokens": 16},
        slo={"latency_ms": {"p95": 400}, "ttft_ms": {"p95": 200}},
        baseline=str(base),
    )
    write_results(sweep, results)
    first, second, *_, last = cells(sweep)
    write_repeat(sweep, results, first, 1, clock="user")
    differs = records(sweep, second, 1, **OTHER, output=UNDER_LOAD)
    kept(write_repeat(sweep, results, second, 1, differs))
    (write_repeat(sweep, results, last, 2) / "run.json").unlink()
    write_failure(sweep, results, last, 2, "x" * 300)
    render(sweep, results, results / "report.html")
    return results / "report.html"


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_page(browser, page, width):
    show(browser, page, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script(WIDER_THAN_PAGE) == []
    wide, room = browser.execute_script(
        "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
    )
    assert wide <= room


def test_it_requests_nothing_but_itself(browser, page):
    requests = show(browser, page, 1280)
    assert requests, "the browser's log shows no request, so it proves nothing"
    for request in requests:
        assert page.as_uri() in request or '"url":"data:' in request, request
    resources = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert [name for name in resources if not name.startswith("data:")] == []


def test_the_console_is_silent(browser, page):
    show(browser, page, 1280)
    assert [entry["message"] for entry in browser.get_log("browser")] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_text_in_drawings_can_be_read(browser, page, width):
    show(browser, page, width)
    assert browser.execute_script(SMALLEST_TEXT) >= 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser, page, scheme):
    show(browser, page, 1280, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script(CONTRASTS) == []


def test_dark_and_light_differ_in_page_and_drawings(browser, page):
    look = (
        "return [getComputedStyle(document.body).backgroundColor, "
        "getComputedStyle(document.querySelector('svg text')).fill]"
    )
    colours = []
    for scheme in ("light", "dark"):
        show(browser, page, 1280, scheme)
        colours.append(browser.execute_script(look))
    assert colours[0][0] != colours[1][0]
    assert colours[0][1] != colours[1][1]


def test_wide_tables_scroll_inside_their_box_and_by_keyboard(browser, page):
    show(browser, page, 390)
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
        ".map(e => e.tabIndex)"
    )
    assert boxes
    assert set(boxes) == {0}


def test_the_keyboard_goes_through_the_page_from_top_to_bottom(browser, page):
    show(browser, page, 1280)
    links = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(e => e.hash)"
    )
    position = (
        "const e = document.activeElement, b = e.getBoundingClientRect();"
        "return [e.hash, b.top + scrollY + 10_000 * (b.left > innerWidth / 2)]"  # the right column later
    )
    stops = []
    for _ in range(len(links) + 6):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        stops.append(browser.execute_script(position))
    assert [name for name, _ in stops[: len(links)]] == links
    below = [top for _, top in stops[len(links) :]]
    assert below[0] > stops[len(links) - 1][1]
    assert below == sorted(below)
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) == "solid"


def test_it_prints(browser, page):
    show(browser, page, 1280, "dark")
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
    assert len(pdf) > 50_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    ink, paper = browser.execute_script(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    )
    assert (ink, paper) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")
    a4 = {"width": 760, "height": 1080, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
    assert browser.execute_script(WIDER_THAN_PAGE) == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_axe_finds_no_serious_violation(browser, page, width, scheme):
    show(browser, page, width, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    report = axe_report(browser)
    bad = [
        (rule["id"], rule["impact"], node["target"], node["failureSummary"][:200])
        for rule in report["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]
    assert bad == []


def test_a_drawing_that_was_downloaded_stands_by_itself(browser, page, tmp_path):
    show(browser, page, 1280)
    link = browser.execute_script("return document.querySelector('a[download$=\".svg\"]').href")
    drawing = tmp_path / "drawing.svg"
    drawing.write_text(unquote(link.partition(",")[2]), encoding="utf-8")
    browser.get_log("browser")
    browser.get(drawing.as_uri())
    assert browser.execute_script("return document.documentElement.tagName") == "svg"
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    inks = browser.execute_script(
        "return [...new Set([...document.querySelectorAll('text')]"
        ".map(t => getComputedStyle(t).fill))]"
    )
    assert inks and all(ink != "rgb(0, 0, 0)" for ink in inks)
