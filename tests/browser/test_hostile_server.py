"""A server that means harm: its replies are measured, stored and shown, and change nothing else."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from tests.browser.conftest import show
from tests.conftest import Reply, http_server
from tests.servers.misbehaving import job_of

ROOT = Path(__file__).parents[2]
SCRIPT = "<script>window.hacked = 1</script>"
IMAGE = "<img src='nothing.png' onerror='window.hacked = 1'>"
NASTY = f"{SCRIPT}{IMAGE}\"'--><svg onload='window.hacked = 1'>\x1b[31m\x00\u202e{{{{7*7}}}}"
PATH = "../../../outside/" + NASTY
DEEP = "[" * 1000 + "]" * 1000

PROPS = {
    "build_info": NASTY,
    "model_path": PATH,
    "chat_template": NASTY,
    "total_slots": 10**30,
    "default_generation_settings": {"n_ctx": 10**12},
}
METRICS = "llamacpp:tokens_predicted_total NaN\nllamacpp:requests_deferred 1e999\n<script> 1\n"


def chat(request):
    """In turn: a reply with impossible figures, one with a NaN, and an error."""
    if not json.loads(request.body)["stream"]:
        whole = {"choices": [{"message": {"content": NASTY}, "finish_reason": NASTY}]}
        return Reply(json.dumps(whole).encode())
    number = uuid.UUID(request.headers["X-Request-Id"])
    turn = job_of(str(number)) % 3 if number.version == 8 else 0  # other requests get a reply
    if turn == 2:
        return Reply(json.dumps({"error": {"message": NASTY}}).encode(), 400)
    content = {"choices": [{"delta": {"content": NASTY}}]}
    last = {"choices": [{"delta": {}, "finish_reason": NASTY}], "system_fingerprint": NASTY}
    figures = {"prompt_tokens": 1e308, "completion_tokens": float("nan") if turn else 10**20}
    usage = {"choices": [], "usage": figures, "timings": {"prompt_ms": -1, "cache_n": 10**20}}
    chunks = [content, content, last, usage]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return Reply(body.encode(), kind="text/event-stream")


ANSWERS = {
    "/health": Reply(DEEP.encode()),
    "/v1/models": Reply(json.dumps({"data": [{"id": PATH, "aliases": [NASTY]}]}).encode()),
    "/props": Reply(json.dumps(PROPS).encode()),
    "/slots": Reply(f'[{{"n_ctx": "{10**20}", "is_processing": {DEEP}}}]'.encode()),
    "/metrics": Reply(METRICS.encode(), kind="text/plain"),
    "/tokenize": Reply(f'{{"tokens": {DEEP}}}'.encode()),
    "/v1/chat/completions": chat,
}


def everything(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def hostile_checkout(tmp_path_factory):
    """(folder around, checkout) after probe, run, tables, page and archive of such a server."""
    outside = tmp_path_factory.mktemp("hostile")
    checkout = outside / "one" / "two" / "three" / "checkout"
    checkout.mkdir(parents=True)

    def mls(*arguments):
        process = subprocess.run(
            [sys.executable, "-m", "mls", *arguments],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        assert "\x1b[31m" not in process.stdout + process.stderr
        assert "\x00" not in process.stdout + process.stderr

    with http_server(ANSWERS) as server:
        config = {
            "name": "hostile",
            "models": {"m": {}},
            "server": {"url": server.url},
            "run": {"iters": 9, "ranks": 1, "inflight": 2, "warmup": 0, "keep_output": True},
            "repeats": 1,
        }
        (checkout / "config.yaml").write_text(yaml.safe_dump(config))
        options = ("--config", "config.yaml")
        mls("probe", *options, "--model", "m", "--output", "results/probe/m.json")
        folder = "results/runs/name~hostile/model~m/inflight~2/ranks~1/repeat~1"
        cell = ("--cell", "model=m", "--cell", "inflight=2", "--cell", "ranks=1")
        mls("run", *options, *cell, "--server", server.url, "--output", folder)
    mls("aggregate", *options)
    mls("report", *options)
    mls("archive", *options)
    return outside, checkout


def test_nothing_is_written_but_below_results(hostile_checkout):
    outside, checkout = hostile_checkout
    config = str((checkout / "config.yaml").relative_to(outside))
    results = str((checkout / "results").relative_to(outside))
    paths = everything(outside)
    assert config in paths
    assert [path for path in paths if not path.startswith(results + "/")] == [config]


def test_what_it_said_is_stored_as_it_was_and_its_figures_are_none(hostile_checkout):
    _, checkout = hostile_checkout
    (records,) = checkout.rglob("requests.parquet")
    rows = pq.read_table(records).to_pylist()
    assert [row["error"] for row in rows] == [None, "bad_reply", "http_400"] * 3
    good, _, bad = rows[:3]
    assert good["output"] == 2 * NASTY
    assert good["completion_tokens"] is None and good["server_prompt_ms"] is None
    assert SCRIPT in bad["error_text"] and bad["error_text"].isprintable()
    for path in [*checkout.rglob("*.json"), *checkout.rglob("*.csv")]:
        json.dumps(path.read_text())
    for path in checkout.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)  # NaN and Infinity


def test_the_page_shows_it_and_runs_none_of_it(browser, hostile_checkout):
    _, checkout = hostile_checkout
    page = checkout / "results" / "report.html"
    requests = show(browser, page, 1280)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return window.hacked") is None
    assert all(page.as_uri() in r or '"url":"data:' in r for r in requests)
    assert (
        browser.execute_script("return document.querySelectorAll('[onerror], [onload]').length")
        == 0
    )
    assert SCRIPT in browser.execute_script("return document.body.innerText")
    assert [entry["message"] for entry in browser.get_log("browser")] == []
