"""Activity of host, cards and server during a run: drawings for each model, and their figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from mls.analysis.cell.result import CellResult
from mls.analysis.repeat.hardware.series import Series
from mls.analysis.repeat.server_figures import courses
from mls.analysis.study import Study
from mls.core.units import NS_PER_S
from mls.report.pages.rows import Column, Row, table
from mls.report.plots.downloads import as_csv
from mls.report.plots.frame.plot import DASHES, Plot, legend, panels
from mls.report.plots.marks import Line
from mls.report.plots.palette import line
from mls.report.plots.series import label
from mls.report.plots.svg import inline
from mls.report.text.numbers import NARROW, number

COLORS = 3
"""Line colours that the drawings need."""

_CPU = ("host", "server", "ranks")
_OF_CARDS = (
    ("utilization", "GPU\n%"),
    ("memory_used_mib", "GPU memory\nMiB"),
    ("power_w", "GPU power\nW"),
)
_AT_WORK = ("running", "waiting")
_UNITS = {
    "cpu": "cores",
    "utilization": "%",
    "memory_used_mib": "MiB",
    "power_w": "W",
    "running": "running",
    "waiting": "waiting",
}
_COLUMNS = (
    Column("Running", "at most", "server.running_max"),
    Column("Waiting", "at most", "server.waiting_max"),
    Column("KV cache", "share at most", "server.kv_use_max"),
    Column("Preemptions", "a repeat", "server.preemptions"),
    Column("GPU busy", "%", "gpu.utilization.mean"),
    Column("GPU memory", "MiB", "gpu.memory_used_mib.max"),
    Column("of the server", "MiB", "gpu.server_memory_mib.max"),
    Column("GPU power", "W", "gpu.power_w.mean"),
    Column("Energy", "J per 1,000 tokens", "gpu.energy_j_per_1000_tokens"),
    Column("CPU power", "W", "cpu.power_w"),
    Column("CPU energy", "J per 1,000 tokens", "cpu.energy_j_per_1000_tokens"),
    Column("Post-processing p50", "ms", "gpu.post.total_ms.p50"),
    Column("p95", "ms", "gpu.post.total_ms.p95"),
    Column("copy p50", "ms", "gpu.post.copy_ms.p50"),
    Column("kernel p50", "ms", "gpu.post.kernel_ms.p50"),
)


@dataclass(frozen=True)
class _Line:
    """One line of a panel. source, figure: its name in texts and data."""

    source: str
    figure: str
    series: Series


@dataclass(frozen=True)
class _Panel:
    title: str
    lines: list[_Line]


@dataclass(frozen=True)
class Activity:
    """The section on host, cards and server; its lists are empty where nothing was sampled."""

    plots: list[Plot]
    columns: list[Column]
    rows: list[Row]
    why_no_post: list[str]
    """Reasons why replies were not post-processed with `run.cuda_post: auto`."""


def activity(study: Study, axes: list[str]) -> Activity:
    """The section, with drawings of each model's cell of the highest inflight.

    axes: names of the axes in the table's rows. Call it within `svg.style`.
    """
    columns = [c for c in _COLUMNS if any(c.metric in cell.estimates for cell in study.cells)]
    names = list(dict.fromkeys(str(cell.cell["model"]) for cell in study.cells))
    cells = [(i, cell) for i, name in enumerate(names) if (cell := _cell(study, name))]
    drawings = [
        _drawing(f"{name}{i}", study, cell, *parts(cell))
        for name, parts in (("activity", _machine), ("server-load", _server))
        for i, cell in cells
    ]
    return Activity(
        plots=[plot for plot in drawings if plot],
        columns=columns,
        rows=table(study, axes, columns) if columns else [],
        why_no_post=_reasons(study),
    )


def _reasons(study: Study) -> list[str]:
    results = [repeat.result for cell in study.cells for repeat in cell.ok if repeat.result]
    posts = [result.summary.gpu.post for result in results if result.summary.gpu]
    return list(dict.fromkeys(post.reason for post in posts if post and post.reason))


def _cell(study: Study, model: str) -> CellResult | None:
    """The model's cell of the highest inflight, of those with telemetry."""
    cells = [c for c in study.cells if c.cell["model"] == model and c.telemetry]
    return max(cells, key=lambda one: int(one.cell["inflight"]), default=None)


def _machine(cell: CellResult) -> tuple[str, list[_Panel]]:
    """(title, panels) of host and cards."""
    cards = sorted({source for source, _ in cell.telemetry if source.startswith("gpu")})
    figures = (
        ("cpu", "CPU\ncores", list(_CPU)),
        *((key, title, cards) for key, title in _OF_CARDS),
    )
    panels_ = [
        _Panel(
            title,
            [
                _Line(source, key, cell.telemetry[source, key])
                for source in sources
                if (source, key) in cell.telemetry
            ],
        )
        for key, title, sources in figures
    ]
    return "Host and cards" if cards else "Host", [panel for panel in panels_ if panel.lines]


def _server(cell: CellResult) -> tuple[str, list[_Panel]]:
    """(title, panels) of the server's own figures; no panels where it says none."""
    course = courses(cell.telemetry)
    at_work = [_Line("requests", key, course[key]) for key in _AT_WORK if key in course]
    panels_ = [_Panel("Requests", at_work)]
    if use := course.get("kv_use"):
        panels_.append(_Panel("KV cache\nshare", [_Line("KV cache", "share in use", use)]))
    if (put_back := course.get("preemptions")) and np.ptp(put_back.value):
        since = Series(put_back.at_ns, put_back.value - put_back.value[0])
        panels_.append(_Panel("Preemptions", [_Line("preemptions", "since the start", since)]))
    return "The server's load", [panel for panel in panels_ if panel.lines]


def _drawing(
    name: str, study: Study, cell: CellResult, title: str, panels_: list[_Panel]
) -> Plot | None:
    if not panels_:
        return None
    zero = min(int(one.at_ns[0]) for one in cell.telemetry.values())
    figure, grid = panels(len(panels_), 1.1)
    texts: list[str] = []
    drawn: list[Line] = []
    for axes, panel in zip(grid, panels_, strict=True):
        of_panel = _draw(axes, panel, zero)
        texts, drawn = texts + of_panel[0], drawn + of_panel[1]
    legend(figure, grid[0])
    grid[-1].set_xlabel("s")
    grid[-1].set_xlim(left=0)
    values = [
        (one.source, one.figure, round((int(at) - zero) / NS_PER_S, 3), float(value))
        for panel in panels_
        for one in panel.lines
        for at, value in zip(one.series.at_ns, one.series.value, strict=True)
    ]
    data = as_csv(("source", "figure", "s", "value"), values)
    drawing = inline(figure, name, title, " ".join(texts), drawn)
    where = label(cell, study.varying or ["model"])
    return Plot(f"{title}, {where}", "One repeat.", drawing, name, data)


def _draw(axes: Axes, panel: _Panel, zero: int) -> tuple[list[str], list[Line]]:
    """Draw the panel. Returns the drawing in words, and its values."""
    texts, drawn = [], []
    for i, one in enumerate(panel.lines):
        name = one.figure if one.source == "requests" else one.source
        seconds = (one.series.at_ns - zero) / NS_PER_S
        artists = axes.plot(
            seconds,
            one.series.value,
            color=line(i % COLORS),
            linestyle=DASHES[i % len(DASHES)],
            lw=1.1,
            label=name,
        )
        unit = _UNITS.get(one.figure, "")
        points = [
            (float(at), float(value), f"{at:.1f}{NARROW}s: {number(float(value))} {unit}".rstrip())
            for at, value in zip(seconds, one.series.value, strict=True)
        ]
        drawn.append(Line(name, axes, artists, points))
        mean, most = (number(float(x)) for x in (one.series.value.mean(), one.series.value.max()))
        texts.append(f"{one.source} {one.figure}: {mean} on average, {most} at most.")
    axes.set_ylabel(panel.title, rotation=0, ha="right", va="center")
    axes.set_ylim(bottom=0)
    return texts, drawn
