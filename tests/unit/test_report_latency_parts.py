"""The page's section on where the time goes."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.unit.pages import Page, page
from tests.unit.server_times import STEADY, by_histograms, silent
from tests.unit.synthetic import config, facts, table, to_table, write_repeat, write_results

from mls.analysis.cell.result import CellResult
from mls.analysis.repeat.summary import summarize
from mls.analysis.repeats import Repeat
from mls.config.cells import cells
from mls.core.run_result import RunResult
from mls.report.plots.distributions import MOST_PANELS
from mls.report.plots.latency_parts import latency_bars
from mls.report.plots.series import Series
from mls.report.plots.svg import style

pytestmark = pytest.mark.slow

SECTION = 'id="where"'


def section(html: str) -> str:
    body = html[html.index(SECTION) :]
    return body[: body.index("</section>")]


def data(html: str) -> list[list[str]]:
    """The rows of the section's CSV."""
    link = re.search(r'download="where0\.csv" href="data:[^,]*,([^"]*)"', html)
    assert link
    return [*csv.reader(io.StringIO(unquote(unescape(link[1]))))]


def test_an_engine_with_histograms_has_all_parts(tmp_path: Path) -> None:
    sweep = config(sweep={"inflight": [4]}, repeats=2, run={"iters": 40, "max_tokens": 16})
    before, after = by_histograms()
    for repeat in (1, 2):
        known = {"metrics_before": before, "metrics_after": after}
        write_repeat(sweep, tmp_path, cells(sweep)[0], repeat, to_table(silent()), **known)
    html = page(sweep, tmp_path)
    Page(html)
    text = unescape(section(html)).replace("\u202f", " ")
    assert (
        "inflight 4: 200 ms, of which connect 0.0200 ms, outside the server's clock 9.98 ms, "
        "queue 5.00 ms, otherwise in the server 10.0 ms, prefill 35.0 ms, decode 140 ms."
    ) in text
    assert "A bar is as long as the mean latency." in text
    assert 'href="#where"' in html
    assert [row[1] for row in data(html)] == [
        "part",
        "connect",
        "outside the server's clock",
        "queue",
        "otherwise in the server",
        "prefill",
        "decode",
    ]


def test_of_llama_cpp_the_rest_is_one_part_in_each_cell(tmp_path: Path) -> None:
    sweep = config()
    write_results(sweep, tmp_path)
    html = page(sweep, tmp_path)
    header, *rows = data(html)
    assert header == ["cell", "part", "mean_ms"]
    parts = ["connect", "queue, network and client", "prefill", "decode"]
    assert [(cell, part) for cell, part, _ in rows] == [
        (f"inflight {inflight}", part) for inflight in (1, 2, 4) for part in parts
    ]


def test_without_a_server_time_there_is_no_section(tmp_path: Path) -> None:
    sweep = config(sweep={"inflight": [2, 4]}, repeats=1, run={"iters": 40, "max_tokens": 16})
    for cell in cells(sweep):
        write_repeat(sweep, tmp_path, cell, 1, to_table(silent()))
    html = page(sweep, tmp_path)
    assert SECTION not in html and "#where" not in html
    write_repeat(sweep, tmp_path, cells(sweep)[1], 1, table(STEADY))
    body = section(page(sweep, tmp_path))
    assert "inflight 4: 200" in body and "inflight 2" not in body


def bars(*latencies_ms: float, server_ms: float = 190.0) -> str:
    """The drawing of cells of these latencies, on one server."""
    summary = summarize(to_table(silent()), facts(4))
    side = summary.server.model_copy(update={"latency_ms": server_ms})
    series_cells = []
    for i, ms in enumerate(latencies_ms):
        latency = summary.latency_ms.model_copy(update={"mean": ms})
        one = summary.model_copy(update={"server": side, "latency_ms": latency})
        cell = {"inflight": i + 1}
        repeat = Repeat(cell, 1, Path(), "ok", "", RunResult.model_construct(summary=one))
        series_cells.append(CellResult(cell, [repeat], {}, {}, None))
    with style():
        plot = latency_bars("where", Series("", series_cells, 0, 0), "inflight")
    assert plot
    return plot.note + str(plot.svg)


def test_as_many_cells_are_drawn_as_in_other_figures() -> None:
    drawing = bars(*[200.0 + i for i in range(20)])
    assert len(re.findall(r"inflight \d+: ", drawing)) == MOST_PANELS
    assert "inflight 1: " in drawing and "inflight 20: " in drawing


@pytest.mark.parametrize(("server_ms", "exceeds"), [(199.0, False), (201.0, True)])
def test_a_server_slower_than_the_client_saw_is_pointed_out(
    server_ms: float, exceeds: bool
) -> None:
    assert ("exceed the latency" in bars(200.0, server_ms=server_ms)) == exceeds


def test_long_bars_are_in_seconds() -> None:
    assert ">s</text>" in bars(2500.0) and ">ms</text>" in bars(250.0)
