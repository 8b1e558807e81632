"""The page that can be opened while a sweep runs, by real Snakemake."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest
from tests.servers.honest import HonestServer
from tests.workflow.checkout import Checkout, descendants, survivors

from mls.config.axes import cell_key
from mls.config.cells import cells, run_order, run_path
from mls.config.config import Config
from mls.config.parse import load_config

ONE_CELL = {"inflight": [1], "ranks": [1]}
RULES = "workflow/rules/report.smk"
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


@pytest.fixture(scope="module")
def url():
    with HonestServer() as server:
        yield server.url


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout in which time allows for every page, and each is kept as `page-TIME.html`."""
    checkout = Checkout(tmp_path_factory.mktemp("so-far"))
    checkout.change("workflow/launcher/so_far.py", "SHARE = 0.05", "SHARE = 1000")
    command = "{PREFIX}exec {MLS} report"
    begin = "date +%s%N >> begun; {PREFIX}{MLS} report"
    checkout.change(RULES, command, begin)
    checkout.change(RULES, '--so-far"', f'--so-far && {NOTE}"')
    return checkout


@dataclass(frozen=True)
class Sweep:
    """What a sweep of two cells and two repeats left, and what our launcher said of it."""

    said: list[str]
    config: Config
    pages: list[tuple[int, str]]
    begun: list[int]
    jobs: list[tuple[int, int]]


@pytest.fixture(scope="module")
def sweep(checkout, url):
    checkout.write(config(url))
    process = checkout.report("--config", "config.yaml")
    assert process.returncode == 0, process.stdout + process.stderr
    said = (process.stdout + process.stderr).splitlines()
    begun = [*map(int, (checkout.folder / "begun").read_text().split())]
    data = load_config(checkout.folder / "config.yaml")
    return Sweep(said, data, pages(checkout), begun, jobs_ns(checkout))


@pytest.fixture
def here(checkout):
    """The checkout without pages so far, in which a test may change how they are made."""
    for path in checkout.folder.glob("page-*.html"):
        path.unlink()
    rules = (checkout.folder / RULES).read_text()
    yield checkout
    (checkout.folder / RULES).write_text(rules)


def measure(checkout, *options):
    process = checkout.snakemake(*options)
    assert process.returncode == 0, process.stdout + process.stderr


def pages(checkout):
    """(time in ns, its text) of each page so far."""
    return [
        (int(path.stem.removeprefix("page-")), path.read_text())
        for path in sorted(checkout.folder.glob("page-*.html"))
    ]


def marks(pages):
    """What each page so far is marked with."""
    return [html.partition("<title>")[2].partition(":")[0] for _, html in pages]


def start_utc(run):
    return run["clock"]["started_utc"]


def jobs_ns(checkout):
    """(begin, end) of the job of each repeat, in ns."""
    spans = []
    for path in checkout.results.rglob("benchmark.tsv"):
        end_ns = path.stat().st_mtime_ns
        took_s = float(path.read_text().splitlines()[1].split("\t")[0])
        spans.append((end_ns - int(took_s * 1e9), end_ns))
    return spans


def test_the_page_is_renewed_between_blocks_and_never_beside_a_measurement(checkout, sweep):
    assert marks(sweep.pages) == ["2 of 4 repeats so far"]
    spans = [*zip(sweep.begun, (end_ns for end_ns, _ in sweep.pages), strict=True)]
    assert len(spans) == 1 and len(sweep.jobs) == 4
    assert all(end < job[0] or job[1] < begin for begin, end in spans for job in sweep.jobs)
    assert [sum(job[1] < begin for job in sweep.jobs) for begin, _ in spans] == [2]
    final = (checkout.results / "report.html").read_text()
    assert "so far" not in final and 'id="answer"' in final
    assert final == (checkout.results / "sweeps" / "long" / "report.html").read_text()
    assert len([line for line in sweep.said if "repeat" in line and "tokens/s, p95" in line]) == 4
    assert not (checkout.results / "logs" / "last-stop").exists()
    assert checkout.plan() == {}
    assert pages(checkout) == sweep.pages  # a dry run makes none


def test_repeats_are_interleaved_over_cells_in_the_seeded_order(checkout, sweep):
    paths = [
        checkout.results / "runs" / run_path(sweep.config, cell, repeat) / "run.json"
        for cell in cells(sweep.config)
        for repeat in (1, 2)
    ]
    results = sorted((json.loads(path.read_text()) for path in paths), key=start_utc)
    order = run_order(sweep.config)
    assert [(cell_key(run["cell"]), run["repeat"]) for run in results] == order
    assert [repeat for _, repeat in order] == [1, 1, 2, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_page_that_is_cut_off_is_made_as_the_last_one_after_all(here, sweep, url, number):
    """And nothing goes on: neither the page's process nor the next repeat."""
    here.change(RULES, f"&& {NOTE}", f"&& {NOTE}; touch held; sleep 300")
    results = [*here.results.rglob("run.json")]
    repeats = max(int(path.parent.name.partition("~")[2]) for path in results)
    here.write(config(url, repeats=repeats + 2))  # other cells would have a probe of their own
    held = here.folder / "held"
    held.unlink(missing_ok=True)
    with (here.folder / "log").open("w") as log:
        process = subprocess.Popen(
            here.command(),
            cwd=here.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 300
    while not held.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    below = {pid: p for pid, p in descendants(process.pid).items() if pid != process.pid}
    os.killpg(process.pid, number)
    assert not survivors(below, within_s=20)
    assert process.wait(200) != 0
    assert len([*here.results.rglob("run.json")]) == len(results) + 2
    # of the sweep before nothing is missing, but the page is one of a sweep that goes on
    if number == signal.SIGKILL:  # else Snakemake has made one of what there is
        assert "so far" in (here.results / "sweeps/long/report.html").read_text()
    here.write(config(url))
    assert "run" not in here.plan()
    measure(here)
    for page in ("report.html", "sweeps/long/report.html"):
        assert "so far" not in (here.results / page).read_text()
    assert here.plan() == {}


def test_a_page_that_fails_costs_no_measurement(here, url):
    here.change(RULES, "--so-far &&", "--no-such-option &&")
    here.write(config(url, name="failing", sweep=ONE_CELL))
    measure(here, "--", "aggregate")
    assert pages(here) == []
    assert "No such option" in (here.results / "logs" / "page-so-far.log").read_text()
    assert len([*(here.results / "runs" / "name~failing").rglob("run.json")]) == 2


def test_each_cell_that_shares_a_server_is_followed_by_a_page(here):
    command = ["python", "-m", "tests.servers.counting", "--port", "{port}"]
    server = {"engine": "command", "reuse": "cell", "command": command}
    models = {"weights": {"path": "tests/servers"}}
    here.write(config("", name="shared", server=server, models=models, repeats=1))
    measure(here, "--", "aggregate")
    assert marks(pages(here)) == ["1 of 2 repeats so far"]
