"""The page that can be opened while a sweep runs, by real Snakemake."""

import os
import signal
import subprocess
import time

import pytest
from tests.servers.honest import HonestServer
from tests.workflow.checkout import Checkout, descendants, survivors

ONE_CELL = {"inflight": [1], "ranks": [1]}
NOTE = "cp results/report.html page-$(date +%s%N).html"


def config(url, **more):
    return {
        "name": "long",
        "environment": {"manager": "current"},
        "models": {"m": {}},
        "server": {"url": url},
        "run": {"iters": 3, "max_tokens": 4, "warmup": 0},
        "sweep": {"inflight": [1, 2], "ranks": [1]},
        "repeats": 2,
    } | more


@pytest.fixture
def here(tmp_path):
    """A checkout in which time allows for every page, and each is kept as `page-TIME.html`."""
    checkout = Checkout(tmp_path / "checkout")
    checkout.change("workflow/launcher/so_far.py", "SHARE = 0.05", "SHARE = 1000")
    command = "{PREFIX}exec {MLS} report"
    begin = "date +%s%N >> begun; {PREFIX}{MLS} report"
    checkout.change("workflow/rules/report.smk", command, begin)
    checkout.change("workflow/rules/report.smk", '--so-far"', f'--so-far && {NOTE}"')
    return checkout


@pytest.fixture
def url():
    with HonestServer() as server:
        yield f"http://127.0.0.1:{server.server_address[1]}"


def measure(checkout):
    """Run all of it by our launcher; returns the lines that it prints."""
    process = checkout.report("--config", "config.yaml")
    assert process.returncode == 0, process.stdout + process.stderr
    return (process.stdout + process.stderr).splitlines()


def pages(checkout):
    """(time in ns, its text) of each page so far."""
    return [
        (int(path.stem.removeprefix("page-")), path.read_text())
        for path in sorted(checkout.folder.glob("page-*.html"))
    ]


def marks(checkout):
    """What each page so far is marked with."""
    return [html.partition("<title>")[2].partition(":")[0] for _, html in pages(checkout)]


def jobs_ns(checkout):
    """(begin, end) of the job of each repeat, in ns."""
    spans = []
    for path in checkout.results.rglob("benchmark.tsv"):
        end_ns = path.stat().st_mtime_ns
        took_s = float(path.read_text().splitlines()[1].split("\t")[0])
        spans.append((end_ns - int(took_s * 1e9), end_ns))
    return spans


def test_the_page_is_renewed_between_blocks_and_never_beside_a_measurement(here, url):
    here.write(config(url))
    said = measure(here)
    assert marks(here) == ["2 of 4 repeats so far"]
    begun = map(int, (here.folder / "begun").read_text().split())
    spans = [*zip(begun, (end_ns for end_ns, _ in pages(here)), strict=True)]
    jobs = jobs_ns(here)
    assert len(spans) == 1 and len(jobs) == 4
    assert all(end < job[0] or job[1] < begin for begin, end in spans for job in jobs)
    assert [sum(job[1] < begin for job in jobs) for begin, _ in spans] == [2]
    final = (here.results / "report.html").read_text()
    assert "so far" not in final and 'id="answer"' in final
    assert final == (here.results / "sweeps" / "long" / "report.html").read_text()
    assert len([line for line in said if "repeat" in line and "tokens/s, p95" in line]) == 4
    assert not (here.results / "logs" / "last-stop").exists()
    assert here.plan() == {}
    assert len(pages(here)) == 1  # a dry run makes none


def test_a_page_that_fails_costs_no_measurement(here, url):
    here.change("workflow/rules/report.smk", "--so-far &&", "--no-such-option &&")
    here.write(config(url, sweep=ONE_CELL))
    measure(here)
    assert pages(here) == []
    assert "No such option" in (here.results / "logs" / "page-so-far.log").read_text()
    assert "so far" not in (here.results / "report.html").read_text()


def test_each_cell_that_shares_a_server_is_followed_by_a_page(here):
    command = ["python", "-m", "tests.servers.counting", "--port", "{port}"]
    server = {"engine": "command", "reuse": "cell", "command": command}
    here.write(config("", server=server, models={"m": {"path": "tests/servers"}}, repeats=1))
    measure(here)
    assert marks(here) == ["1 of 2 repeats so far"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_page_that_is_cut_off_is_made_as_the_last_one_after_all(here, url, number):
    """And nothing goes on: neither the page's process nor the next repeat."""
    here.change("workflow/rules/report.smk", f"&& {NOTE}", f"&& {NOTE}; touch held; sleep 300")
    here.write(config(url, sweep=ONE_CELL, repeats=1))
    measure(here)
    assert pages(here) == []  # a sweep of one block needs none
    here.write(config(url, sweep=ONE_CELL, repeats=3))
    with (here.folder / "log").open("w") as log:
        process = subprocess.Popen(
            here.command(),
            cwd=here.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 300
    while not (here.folder / "held").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    below = {pid: p for pid, p in descendants(process.pid).items() if pid != process.pid}
    os.killpg(process.pid, number)
    assert not survivors(below, within_s=20)
    assert process.wait(200) != 0
    assert len([*here.results.rglob("run.json")]) == 2
    # of the first repeat nothing is missing, but the page is one of a sweep that goes on
    here.write(config(url, sweep=ONE_CELL, repeats=1))
    assert "run" not in here.plan()
    measure(here)
    for page in ("report.html", "sweeps/long/report.html"):
        assert "so far" not in (here.results / page).read_text()
    assert here.plan() == {}
