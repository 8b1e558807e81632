"""The sampler, as a real process beside this one, and the samples that it hands out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.conftest import Reply, http_server
from tests.servers.router import MODEL, Router
from tests.unit.engine_pages import answer

from mls.config.sections.server import Server
from mls.core.record import TELEMETRY
from mls.server.api import ServerApi
from mls.server.telemetry import samples as module
from mls.server.telemetry.figures import BUSY, LoadFigures
from mls.server.telemetry.samples import SOCKET_VARIABLE, collect, sampling

METRICS = b"# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing 3\nother 5\n"
ROUTER = "llama.cpp-b11434-router"
WITHIN_S = 30


def samples_with(*sources: str, begin_ns: int = 0) -> list[dict]:
    """The samples, once there are some of each of these sources."""
    limit = time.monotonic() + WITHIN_S
    while time.monotonic() < limit:
        table = collect(begin_ns, time.monotonic_ns())
        if table is not None and set(sources) <= set(table["source"].to_pylist()):
            assert table.schema == TELEMETRY
            return table.to_pylist()
        time.sleep(0.1)
    raise AssertionError(f"no samples of {sources} within {WITHIN_S} s")


@pytest.fixture
def export(monkeypatch):
    return lambda variables: [monkeypatch.setenv(k, v) for k, v in variables.items()]


def test_samples_host_server_ranks_and_metrics_on_this_clock(export):
    spinning = [sys.executable, "-c", "while True: pass"]
    sleeping = [sys.executable, "-c", "import time; time.sleep(999)"]
    with (
        http_server({"/metrics": Reply(METRICS, kind="text/plain")}) as http,
        subprocess.Popen(spinning) as server,
        subprocess.Popen(sleeping) as rank,
    ):
        begin_ns = time.monotonic_ns()
        try:
            with sampling() as sampler:
                sampler.begin(Server(), [http.url], [server.pid])
                export(sampler.variables)
                rows = samples_with("host", "server", "ranks", "metrics", begin_ns=begin_ns)
        finally:
            server.kill()
            rank.kill()
    now = time.monotonic_ns()
    assert all(begin_ns <= row["at_ns"] <= now for row in rows)
    assert [row["at_ns"] for row in rows] == sorted(row["at_ns"] for row in rows)
    metrics = {(row["name"], row["value"]) for row in rows if row["source"] == "metrics"}
    assert metrics == {("requests_processing", 3.0)}
    memory = [r["value"] for r in rows if (r["source"], r["name"]) == ("server", "memory_mib")]
    assert all(1 < value < 1000 for value in memory)


def test_an_engine_that_died_before_it_is_left_out(export, capfd):
    with subprocess.Popen(["true"]) as engine:
        engine.wait()
    with sampling() as sampler:
        sampler.begin(Server(), ["http://127.0.0.1:9"], [engine.pid])
        export(sampler.variables)
        samples_with("host")
    assert capfd.readouterr().err == ""


def test_nothing_is_left_of_it(export):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with sampling() as sampler:
        sampler.begin(Server(), ["http://127.0.0.1:9"], [])
        export(sampler.variables)
        samples_with("host")
        folder = Path(sampler.variables[SOCKET_VARIABLE]).parent
    assert not folder.exists()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert collect(0, time.monotonic_ns()) is None


def test_a_server_without_metrics_makes_no_noise(export, capfd):
    with (
        http_server({}) as http,
        sampling() as sampler,
    ):
        sampler.begin(Server(), [http.url], [])
        export(sampler.variables)
        rows = samples_with("host")
    assert "metrics" not in {row["source"] for row in rows}
    assert capfd.readouterr() == ("", "")


def test_a_router_is_asked_for_the_model_and_waited_for(export):
    """Its page answers 400 without the model's name, and until it has loaded the model."""
    pages = iter([Reply(b'{"error": {"message": "model is not loaded"}}', 400)])
    answers = {
        "/props": Reply(json.dumps(answer(ROUTER, "props")).encode()),
        "/metrics?model=smollm2&autoload=false": lambda _: next(pages, Reply(METRICS)),
    }
    with (
        http_server(answers) as http,
        sampling() as sampler,
    ):
        sampler.begin(Server(), [http.url], [], model="smollm2")
        export(sampler.variables)
        rows = samples_with("metrics")
    assert {row["name"] for row in rows if row["source"] == "metrics"} == {"requests_processing"}


def slots_of(*busy: bool) -> Reply:
    return Reply(
        json.dumps([{"id": i, "is_processing": one} for i, one in enumerate(busy)]).encode()
    )


def test_busy_slots_are_sampled_where_there_are_no_metrics(export):
    with (
        http_server({"/slots": slots_of(True, False, True)}) as http,
        sampling() as sampler,
    ):
        sampler.begin(Server(), [http.url], [])
        export(sampler.variables)
        rows = samples_with("slots")
    assert {(r["name"], r["value"]) for r in rows if r["source"] == "slots"} == {("busy", 2.0)}


def figures(http, times: int, model: str | None = None) -> tuple[list[dict | None], list[str]]:
    """(some samples, the paths that they asked)."""
    server = LoadFigures(ServerApi(http.url), model)
    before = len(http.seen)
    samples = [server.sample() for _ in range(times)]
    return samples, [request.path for request in http.seen[before:]]


def test_slots_are_left_alone_where_metrics_have_them(make_server):
    http = make_server({"/metrics": Reply(METRICS), "/slots": slots_of(True)})
    busy = {"llamacpp:requests_processing": 3.0}
    assert figures(http, 3) == ([busy] * 3, ["/metrics"] * 3)


def test_a_sample_is_one_request_and_what_failed_once_is_not_asked_again(make_server):
    pages = iter([slots_of(True), Reply(b"{}", 500)])
    http = make_server({"/slots": lambda _: next(pages, slots_of(True))})
    samples, paths = figures(http, 5)
    assert samples == [{}, {BUSY: 1.0}, None, None, None]
    assert paths == ["/metrics", "/slots", "/slots"]


def test_a_router_without_metrics_has_slots_once_it_has_loaded_the_model(make_server):
    router = Router("unloaded")
    answers = {k: v for k, v in router.answers.items() if not k.startswith("/metrics")}
    server = LoadFigures(ServerApi(make_server(answers).url), MODEL)
    assert [server.sample() for _ in range(3)] == [{}] * 3
    router.state = "loaded"
    samples = [server.sample() for _ in range(4)]
    assert samples[-2:] == [{BUSY: 0.0}] * 2


def test_samples_of_another_host_are_of_another_clock(export, monkeypatch):
    with sampling() as sampler:
        sampler.begin(Server(), ["http://127.0.0.1:9"], [])
        export(sampler.variables)
        samples_with("host")
        monkeypatch.setattr(module, "clock_id", lambda: "another host's")
        assert collect(0, time.monotonic_ns()) is None


def test_without_a_sampler_there_is_no_telemetry(monkeypatch):
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    assert collect(0, time.monotonic_ns()) is None
