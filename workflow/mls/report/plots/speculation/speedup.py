"""Drawing of the speedup of speculation over inflight."""

from __future__ import annotations

from dataclasses import replace

from mls.analysis.speculation.speedup import SPEEDUP, speedups
from mls.analysis.study import Study
from mls.report.plots.curves import along
from mls.report.plots.frame.plot import Plot
from mls.report.plots.series import layout

_NOTE = (
    "Throughput over that of the same cell without speculation: above the dashed line it pays. "
    "Bars: 95 % intervals over repeats."
)


def speedup_plots(study: Study) -> list[Plot]:
    """A line for each setting; empty without speculation on and off. Call it within `svg.style`."""
    ratios = {id(one.cell): one.ratio for one in speedups(study)}
    if not ratios:
        return []
    cells = [
        replace(cell, estimates=cell.estimates | {SPEEDUP: ratios[id(cell)]})
        for cell in study.cells
        if id(cell) in ratios
    ]
    plots = [
        along(
            f"speedup{i}",
            "Speedup of speculation by inflight",
            facet,
            "inflight",
            [SPEEDUP],
            "times",
            _NOTE,
            reference=lambda _: 1.0,
        )
        for i, facet in enumerate(layout(replace(study, cells=cells), "inflight").facets)
    ]
    return [plot for plot in plots if plot]
