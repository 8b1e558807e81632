"""A sweep while it runs: its repeats, what they gave, and the time that is left."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.unit.synthetic import config, write_repeat

from launcher.lines import repeat_line
from launcher.live import Live
from launcher.sweep import Sweep
from mls.config.cells import cells


def sweep_of(folder, planned):
    """A sweep with these (inflight, repeat), without any file."""
    sweep = Sweep("x", Path("page"), Path("latest"), Path("answer"))
    for inflight, repeat in planned:
        sweep.add({"inflight": inflight, "ranks": 2}, repeat, folder / str(inflight) / str(repeat))
    return sweep


@pytest.fixture
def measured(tmp_path):
    """A sweep of two cells, one of which has a result."""
    settings = config(sweep={"inflight": [1, 2]}, repeats=1)
    sweep = Sweep("x", Path("page"), Path("latest"), Path("answer"))
    first, second = cells(settings)
    folder = write_repeat(settings, tmp_path, first, 1)
    sweep.add(first, 1, folder)
    sweep.add(second, 1, tmp_path / "none")
    return sweep


def test_what_a_repeat_gave_is_in_its_run_json(measured):
    repeat = next(iter(measured.repeats.values()))
    run = json.loads((repeat.folder / "run.json").read_text())
    line = repeat_line(measured, repeat)
    assert repeat.state == "ok" and measured.count("ok") == 1
    assert f"inflight {repeat.cell['inflight']}, repeat 1: " in line and "tokens/s, p95 " in line
    assert repeat.figures.throughput.startswith(
        f"{run['summary']['throughput']['completion_tokens_per_s']:.3g}"[:2]
    )


def test_axes_with_one_value_name_no_cell(tmp_path):
    sweep = sweep_of(tmp_path, [(1, 1), (2, 1)])
    assert [*sweep.cells()] == ["inflight 1", "inflight 2"]
    assert [*sweep_of(tmp_path, [(4, 1), (4, 2)]).cells()] == ["inflight 4"]


@given(st.lists(st.tuples(st.integers(1, 3), st.floats(0.1, 100)), min_size=1, max_size=6))
def test_the_time_left_is_that_of_the_repeats_so_far(times):
    planned = [(inflight, n) for n, (inflight, _) in enumerate(times)]
    sweep = sweep_of(Path("/nowhere"), [*planned, (1, 98), (2, 99)])
    assert sweep.waiting_s() is None
    for repeat, (_, took_s) in zip(sweep.repeats.values(), times, strict=False):
        repeat.state, repeat.took_s = "ok", took_s
    every = [took_s for _, took_s in times]
    expected = 0.0
    for inflight in (1, 2):
        own = [took_s for i, took_s in times if i == inflight]
        expected += sum(own or every) / len(own or every)
    assert sweep.waiting_s() == pytest.approx(expected)


def test_the_live_view_shows_cells_marks_and_figures(measured, tmp_path):
    """A terminal of its own; what it shows in the end is what it leaves there."""
    view, stream = Live(), io.StringIO()
    view._console = Console(file=stream, force_terminal=True, width=100, height=30, no_color=True)
    view._live.console = view._console
    log = tmp_path / "run.log"
    log.write_text("mls run: 5 of 24 requests handed out\nmls run: 17 of 24 requests handed out\n")
    first, second = measured.repeats.values()
    view.stage("Probing the server of m")
    second.begin()
    view.begin(measured, second, log)
    assert "▸ " in stream.getvalue() or "▸" in stream.getvalue()
    assert "17 of 24 requests" in stream.getvalue()
    second.end(failed=True)
    view.end(measured, second)
    view.stop()
    shown = stream.getvalue().rpartition("Probing the server of m")[2]
    assert first.figures.throughput in shown and f"p95 {first.figures.p95}" in shown
    assert "inflight 2" in shown and "✗" in shown
    assert "2 of 2 repeats, 1 failed" in shown
