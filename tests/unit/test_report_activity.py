"""The page's section on host and cards."""

from __future__ import annotations

import csv
import math

from tests.unit.pages import page
from tests.unit.synthetic import config, load_of, rows, to_table, write_repeat
from tests.unit.telemetry import POST, telemetry

from mls.analysis.repeat.hardware.cards import PostFacts
from mls.analysis.tables import aggregate
from mls.config.cells import cells

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
