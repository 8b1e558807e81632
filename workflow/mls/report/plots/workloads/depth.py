"""Drawings of prompt processing and generation over the depth."""

from __future__ import annotations

from mls.analysis.study import Study
from mls.report.plots.curves import along
from mls.report.plots.frame.plot import Plot
from mls.report.plots.series import layout

_NOTE = "By the client’s clock. Bars: 95 % intervals over repeats."
_TESTS = (
    ("pp", "Prompt processing by depth"),
    ("tg", "Generation by depth"),
)


def depth_plots(study: Study) -> list[Plot]:
    """Two drawings for each facet; empty without several depths. Call it within `svg.style`."""
    if "depth" not in study.varying:
        return []
    plots = [
        along(f"{test}{i}", title, facet, "depth", [f"depth.{test}_per_s"], "tokens/s", _NOTE)
        for i, facet in enumerate(layout(study, "depth").facets)
        for test, title in _TESTS
    ]
    return [plot for plot in plots if plot]
