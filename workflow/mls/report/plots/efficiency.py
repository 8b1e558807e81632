"""Drawings of what users get and what it takes: Pareto front, goodput, cost, energy."""

from __future__ import annotations

from mls.analysis.efficiency.cost import KINDS, metric
from mls.analysis.study import Study
from mls.report.plots.curves import along
from mls.report.plots.frame.plot import Plot
from mls.report.plots.pareto import pareto_plot
from mls.report.plots.series import Facet, Layout, layout

_INTERVALS = "Bars: 95 % intervals over repeats."
_COSTS = {
    "completion_tokens": ("out", "Cost of a million tokens out"),
    "prompt_tokens": ("in", "Cost of a million tokens in"),
    "tokens": ("both", "Cost of a million tokens, in and out"),
}
_ENERGY = {
    "gpu.energy_j_per_1000_tokens": "Energy of the cards",
    "cpu.energy_j_per_1000_tokens": "Energy of the CPU",
}


def efficiency_plots(study: Study, main: Layout) -> list[Plot]:
    """The drawings that the study has figures for. Call it within `svg.style`.

    main: the page's arrangement. Goodput of an open loop is drawn along the rate, where that varies.
    """
    by_rate = "rate" in study.varying
    arrangement = layout(study, "rate") if by_rate and main.x != "rate" else main
    drawings = [
        pareto_plot("pareto", study),
        *(_goodput(i, facet, study, arrangement) for i, facet in enumerate(arrangement.facets)),
        *(plot for i, facet in enumerate(main.facets) for plot in _costs(i, facet, study, main)),
        *(plot for i, facet in enumerate(main.facets) for plot in _energy(i, facet, main)),
    ]
    return [plot for plot in drawings if plot]


def _goodput(i: int, facet: Facet, study: Study, arrangement: Layout) -> Plot | None:
    x = arrangement.x
    note = f"Requests that meet the objectives. {_INTERVALS}"
    if x == "rate":
        note += " Dashed: all that arrive."
    good = f"{study.rates}.good_requests_per_s"
    equal = float if x == "rate" else None
    return along(f"good{i}", f"Goodput by {x}", facet, x, [good], "good requests/s", note, equal)


def _costs(i: int, facet: Facet, study: Study, main: Layout) -> list[Plot | None]:
    price = study.config.price.per_hour
    if price is None:
        return []
    note = f"${price:g} an hour over the tokens of an hour. {_INTERVALS}"
    plots = []
    for kind in KINDS:
        short, title = _COSTS[kind]
        name = metric(study.rates, kind)
        heading = f"{title} by {main.x}"
        plots.append(along(f"cost{i}-{short}", heading, facet, main.x, [name], "$", note))
    return plots


def _energy(i: int, facet: Facet, main: Layout) -> list[Plot | None]:
    return [
        along(f"energy{i}-{name[:3]}", f"{title} by {main.x}", facet, main.x, [name],
              "J per 1,000 tokens", _INTERVALS)
        for name, title in _ENERGY.items()
    ]  # fmt: skip
