"""The page's section on host and cards."""

from __future__ import annotations

import csv
import math

import pytest
from tests.unit.pages import page
from tests.unit.synthetic import config, load_of, rows, to_table, write_repeat
from tests.unit.telemetry import POST, telemetry

from mls.analysis.repeat.hardware.cards import PostFacts
from mls.analysis.repeat.server_figures import COURSES
from mls.analysis.tables import aggregate
from mls.config.cells import cells
from mls.protocol.engines.registry import PROFILES

pytestmark = pytest.mark.slow

CARD = {
    "memory_used_mib": 2200.0,
    "server_memory_mib": 2100.0,
    "utilization": lambda s: 50 + 10 * math.sin(s),
    "power_w": 210.0,
    "clock_reasons": 0.0,
}
HOST = {
    "host": {"cpu": 2.5, "steal": 0.0},
    "server": {"cpu": 1.5, "memory_mib": 900.0},
    "ranks": {"cpu": 0.25},
}
SECTION = 'id="activity"'


def results(tmp_path, figures, post=None, **columns):
    sweep = config(repeats=2)
    for cell in cells(sweep):
        for repeat in (1, 2):
            records = [row | columns for row in rows(load_of(sweep, cell, repeat))]
            samples = telemetry(figures, records) if figures else None
            keys = {"records": to_table(records), "telemetry": samples, "post": post}
            write_repeat(sweep, tmp_path, cell, repeat, **keys)
    return sweep


def test_a_card_is_drawn_and_its_figures_are_in_the_table(tmp_path):
    times = {"post_ms": 0.5, "post_copy_ms": 0.125, "post_kernel_ms": 0.25}
    sweep = results(tmp_path, HOST | {"gpu0": CARD}, POST, **times)
    html = page(sweep, tmp_path)
    section = html[html.index(SECTION) :]
    section = section[: section.index("</section>")]
    for word in ("Host and cards", "GPU power", "GPU memory", "J per 1,000 tokens", "kernel p50"):
        assert word in section, word
    assert "gpu0 power_w: 210 on average" in section
    assert "card at full clocks" not in section
    aggregate(sweep, tmp_path)
    with (tmp_path / "cells.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert {float(cell["gpu.power_w.mean"]) for cell in lines} == {210.0}
    assert {float(cell["gpu.post.kernel_ms.p50"]) for cell in lines} == {0.25}
    assert all(float(cell["gpu.energy_j_per_1000_tokens"]) > 0 for cell in lines)


def test_without_a_card_there_is_the_host(tmp_path):
    sweep = results(tmp_path, HOST)
    html = page(sweep, tmp_path)
    section = html[html.index(SECTION) :]
    section = section[: section.index("</section>")]
    assert "server cpu: 1.50 on average" in section
    assert "GPU" not in section and "post-processed" not in section


def test_why_there_was_no_post_processing_is_said(tmp_path):
    sweep = results(tmp_path, None, PostFacts("auto", 64, "no CUDA driver", []))
    html = page(sweep, tmp_path)
    assert "Replies were not post-processed on a card: no CUDA driver." in html


def test_without_telemetry_there_is_no_section(tmp_path):
    sweep = results(tmp_path, None)
    assert SECTION not in page(sweep, tmp_path)


def section_of(html):
    section = html[html.index(SECTION) :]
    return section[: section.index("</section>")]


VLLM = {
    "metrics": {
        "num_requests_running": lambda s: 3.0 if s < 1 else 4.0,
        "num_requests_waiting": 12.0,
        "kv_cache_usage_perc": lambda s: 0.25 + min(max(s, 0), 1) / 4,
        "num_preemptions_total": lambda s: 5.0 + max(s, 0) // 1,
    }
}


def test_the_server_s_course_is_drawn_and_its_maxima_are_in_the_tables(tmp_path):
    sweep = results(tmp_path, HOST | VLLM)
    section = section_of(page(sweep, tmp_path))
    for words in (
        "requests running: 3.",
        " on average, 4.00 at most",
        "requests waiting: 12.0 on average, 12.0 at most",
        "KV cache share in use: 0.",
        " on average, 0.500 at most",
        "preemptions since the start",
        "KV cache",
        "share at most",
    ):
        assert words in section, words
    aggregate(sweep, tmp_path)
    with (tmp_path / "cells.csv").open() as stream:
        cell = next(csv.DictReader(stream))
    assert [float(cell[f"server.{name}_max"]) for name in ("running", "waiting")] == [4.0, 12.0]
    assert float(cell["server.kv_use_max"]) == 0.5


def test_what_the_server_does_not_say_of_its_load_is_absent(tmp_path):
    """A llama-server without `/metrics` has its busy slots; one with it has a queue, too."""
    sweep = results(tmp_path, HOST | {"slots": {"busy": 2.0}})
    section = section_of(page(sweep, tmp_path))
    assert "requests running: 2.00 on average, 2.00 at most" in section
    for word in ("waiting", "Waiting", "KV cache", "reemptions"):
        assert word not in section, word
    aggregate(sweep, tmp_path)
    with (tmp_path / "cells.csv").open() as stream:
        cell = next(csv.DictReader(stream))
    assert (cell["server.running_max"], cell["server.waiting_max"]) == ("2.0", "")


def test_samples_before_and_after_the_load_are_not_its_maximum(tmp_path):
    peak_before = {"metrics": {"requests_processing": lambda s: 9.0 if s < 0 else 1.0}}
    sweep = results(tmp_path, peak_before)
    aggregate(sweep, tmp_path)
    with (tmp_path / "cells.csv").open() as stream:
        assert {cell["server.running_max"] for cell in csv.DictReader(stream)} == {"1.0"}


def test_no_name_in_the_telemetry_stands_for_two_figures():
    names = [
        {name.removeprefix(profile.prefix) for profile in PROFILES for name in getattr(profile, f)}
        for f in COURSES
    ]
    assert len(set().union(*names)) == sum(map(len, names)) > len(COURSES)
