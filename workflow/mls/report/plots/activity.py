"""Activity of host and cards during a run: a drawing for each model, and the cards' figures."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes

from mls.analysis.repeat.hardware.series import Series
from mls.analysis.study import CellResult, Study
from mls.core.units import NS_PER_S
from mls.report.pages.rows import Column, Row, table
from mls.report.plots.curves import DASHES, Plot, legend, panels
from mls.report.plots.downloads import as_csv
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
_UNITS = {"cpu": "cores", "utilization": "%", "memory_used_mib": "MiB", "power_w": "W"}
_COLUMNS = (
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
class Activity:
    """The section on host and cards; its lists are empty where nothing was sampled."""

    plots: list[Plot]
    columns: list[Column]
    rows: list[Row]
    why_no_post: list[str]
    """Reasons why replies were not post-processed with `run.cuda_post: auto`."""


def activity(study: Study, axes: list[str]) -> Activity:
    """The section, with a drawing of each model's cell of the highest inflight.

    axes: names of the axes in the table's rows. Call it within `svg.style`.
    """
    columns = [c for c in _COLUMNS if any(c.metric in cell.estimates for cell in study.cells)]
    names = list(dict.fromkeys(str(cell.cell["model"]) for cell in study.cells))
    drawings = [_drawing(f"activity{i}", study, name) for i, name in enumerate(names)]
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


def _drawing(name: str, study: Study, model: str) -> Plot | None:
    cells = [c for c in study.cells if c.cell["model"] == model and c.telemetry]
    if not cells:
        return None
    cell = max(cells, key=lambda one: int(one.cell["inflight"]))
    zero = min(int(one.at_ns[0]) for one in cell.telemetry.values())
    cards = sorted({source for source, _ in cell.telemetry if source.startswith("gpu")})
    rows = [key for key in _OF_CARDS if any((card, key[0]) in cell.telemetry for card in cards)]
    figure, grid = panels(1 + len(rows), 1.1)
    texts, drawn = _lines(grid[0], cell, [(source, "cpu") for source in _CPU], zero)
    grid[0].set_ylabel("CPU\ncores", rotation=0, ha="right", va="center")
    legend(figure, grid[0])
    for axes, (key, title) in zip(grid[1:], rows, strict=True):
        of_cards = _lines(axes, cell, [(card, key) for card in cards], zero)
        texts, drawn = texts + of_cards[0], drawn + of_cards[1]
        axes.set_ylabel(title, rotation=0, ha="right", va="center")
    grid[-1].set_xlabel("s")
    grid[-1].set_xlim(left=0)
    title = "Host and cards" if cards else "Host"
    where = label(cell, study.varying or ["model"])
    keys = [(source, "cpu") for source in _CPU] + [(card, key) for key, _ in rows for card in cards]
    values = [
        (source, key, round((int(at) - zero) / NS_PER_S, 3), float(value))
        for source, key in keys
        if (source, key) in cell.telemetry
        for at, value in zip(
            cell.telemetry[source, key].at_ns, cell.telemetry[source, key].value, strict=True
        )
    ]
    data = as_csv(("source", "figure", "s", "value"), values)
    drawing = inline(figure, name, title, " ".join(texts), drawn)
    return Plot(f"{title}, {where}", "One repeat.", drawing, name, data)


def _lines(
    axes: Axes, cell: CellResult, keys: list[tuple[str, str]], zero: int
) -> tuple[list[str], list[Line]]:
    """Draw them. Returns the drawing in words, and its values."""
    texts, drawn = [], []
    for i, key in enumerate(key for key in keys if key in cell.telemetry):
        one: Series = cell.telemetry[key]
        seconds = (one.at_ns - zero) / NS_PER_S
        artists = axes.plot(
            seconds,
            one.value,
            color=line(i % COLORS),
            linestyle=DASHES[i % len(DASHES)],
            lw=1.1,
            label=key[0],
        )
        points = [
            (float(at), float(value), f"{at:.1f}{NARROW}s: {number(float(value))} {_UNITS[key[1]]}")
            for at, value in zip(seconds, one.value, strict=True)
        ]
        drawn.append(Line(key[0], axes, artists, points))
        texts.append(f"{key[0]} {key[1]}: {number(float(one.value.mean()))} on average.")
    axes.set_ylim(bottom=0)
    return texts, drawn
