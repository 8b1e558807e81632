"""One browser for all browser tests."""

import os
import shutil

import pytest
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
SCRIPT_S = 600  # axe looks at thousands of nodes; on a busy machine that takes minutes


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """The system's Chromium; it and its driver end with the tests."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.fail(
            "The browser tests need chromium and chromedriver on PATH: "
            "on Debian, apt-get install chromium chromium-driver."
        )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for switch in [*SWITCHES.split(), f"--user-data-dir={profile}"]:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    browser.set_script_timeout(SCRIPT_S)
    processes = [browser.service.process.pid]
    try:
        yield browser
    finally:
        browser.quit()
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def show(browser, page, width, scheme="light"):
    """Open the page at a width in CSS pixels; returns the page's requests."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(page.as_uri())
    return [
        e["message"] for e in browser.get_log("performance") if 'requestWillBeSent"' in e["message"]
    ]


SHAPES = (
    "svg :is(path, use, defs, clipPath, rect, g)"
    ":not([role], [tabindex], [aria-label], [aria-hidden], :has(text, title, style, a, [role]))"
)


def axe_report(browser):
    """What axe says of the page, whose drawings lose their shapes.

    They have neither text nor name nor role, so no rule is on them, and are most of the elements
    that axe would look at.
    """
    script = f"return [...document.querySelectorAll('{SHAPES}')].map(e => e.remove()).length"
    assert browser.execute_script(script) > 100
    report = Axe().run(browser, options={"resultTypes": ["violations"]})
    assert len(report["passes"]) > 10, "axe looked at nothing"
    return report
