"""The drawings of the page, in groups, for any sweep."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis.answer import LATENCY
from mls.analysis.cell.result import CellResult
from mls.analysis.study import Rate, Study
from mls.report.plots import activity, latency_parts, palette
from mls.report.plots.curves import along, trade_off
from mls.report.plots.distributions import ecdf, scatter, timeline
from mls.report.plots.efficiency import efficiency_plots
from mls.report.plots.frame.plot import Plot
from mls.report.plots.latency_parts import latency_bars
from mls.report.plots.parts import part_plots
from mls.report.plots.series import MOST_LINES, Layout, layout
from mls.report.plots.speculation.speedup import speedup_plots
from mls.report.plots.svg import style
from mls.report.plots.workloads.depth import depth_plots
from mls.report.plots.workloads.turns import turn_plots
from mls.report.text.chunks import chunk_note

MOST_DETAILED = 4
"""Lines whose distributions and timelines are drawn."""

_INTERVALS = "Bars: 95 % intervals over repeats."
_DISTRIBUTIONS = (
    ("ttft_ms", "Time to first token (TTFT)"),
    ("ttfa_ms", "Time to first answer token (TTFA)"),
    ("tool_call_ms", "Time to whole tool calls"),
    ("tpot_ms", "Time per output token (TPOT)"),
    ("itl_ms", "Inter-token latency (ITL)"),
    ("latency_ms", "Latency"),
)
_FROM_SCHEDULED = ("latency_from_scheduled_ms", "Latency from scheduled")
_BY_X = (
    ("latency_ms", "Latency"),
    ("ttft_ms", "TTFT"),
    ("ttfa_ms", "TTFA"),
    ("tool_call_ms", "Whole tool calls"),
    ("tpot_ms", "TPOT"),
    ("reasoning_tpot_ms", "TPOT of reasoning"),
    ("answer_tpot_ms", "TPOT of answers"),
    ("itl_ms", "ITL"),
)


@dataclass(frozen=True)
class Figures:
    """Groups of drawings, each of which may be empty. `light` and `dark` are CSS declarations."""

    throughput: list[Plot]
    """Latency over throughput, and throughput along the x axis."""
    efficiency: list[Plot]
    """What users get and what it takes; empty where no figure of it is known."""
    speculation: list[Plot]
    """The speedup of speculation; empty where none was measured with it and without."""
    depth: list[Plot]
    """Prompt processing and generation over the depth; empty for other workloads."""
    along: list[Plot]
    latency_parts: list[Plot]
    """Mean latency in parts; empty where no server tells its own times."""
    distributions: list[Plot]
    timelines: list[Plot]
    requests: list[Plot]
    ranks: list[Plot]
    parts: list[Plot]
    """Figures along the stages of a load and the turns of conversations."""
    sessions: list[Plot]
    """What the cache had of conversations; empty where no server tells."""
    x: str
    hidden: int
    """Lines that no drawing shows."""
    undetailed: int
    """Lines whose distributions and timelines are not drawn."""
    light: str
    dark: str


def draw(study: Study) -> Figures:
    """Draw all figures of the page. Their names are unique in it."""
    main = layout(study)
    by_ranks = layout(study, "ranks") if "ranks" in study.varying and main.x != "ranks" else None
    rate = study.rate
    series = [one for facet in main.facets for one in facet.series]
    left_out = None if study.thinks else "ttfa_ms"  # It would be TTFT once more
    detail_series = series[:MOST_DETAILED]
    with style():
        figures: dict[str, list[Plot | None]] = {
            "throughput": [
                plot
                for i, facet in enumerate(main.facets)
                for plot in (
                    trade_off(f"trade{i}", facet, main.x, rate, LATENCY),
                    along(
                        f"rate{i}",
                        f"Throughput by {main.x}",
                        facet,
                        main.x,
                        [rate.metric],
                        rate.unit,
                        _INTERVALS,
                    ),
                )
            ],
            "efficiency": [*efficiency_plots(study, main)],
            "speculation": [*speedup_plots(study)],
            "depth": [*depth_plots(study)],
            "along": _along(main, study.config.load.open, left_out),
            "latency_parts": [
                latency_bars(f"where{i}", one, main.x) for i, one in enumerate(detail_series)
            ],
            "distributions": [
                ecdf(f"ecdf{i}-{metric}", title, metric, one, main.x, _note(metric, one.cells))
                for i, one in enumerate(detail_series)
                for metric, title in _DISTRIBUTIONS
                if metric != left_out
            ],
            "timelines": [
                timeline(f"time{i}", one, main.x, study.config.load.open)
                for i, one in enumerate(detail_series)
            ],
            "requests": [
                scatter(f"requests{i}", one, main.x) for i, one in enumerate(detail_series)
            ],
            "ranks": _ranks(by_ranks, rate) if by_ranks else [],
            "parts": [*part_plots(study)],
            "sessions": [*turn_plots(study)],
        }
    colors = max(main.colors, by_ranks.colors if by_ranks else 0, activity.COLORS)
    models = len({str(cell.cell["model"]) for cell in study.cells})
    colors = max(colors, min(models, MOST_LINES))
    if any(figures["latency_parts"]):
        colors = max(colors, latency_parts.COLORS)
    if any(figures[name] for name in ("parts", "sessions", "speculation", "depth")):
        # a colour for each cell
        colors = max(colors, min(len(study.cells), MOST_LINES))
    longest = max((len(one.cells) for one in series), default=1)
    light, dark = palette.variables(colors, longest)
    groups = {group: [plot for plot in plots if plot] for group, plots in figures.items()}
    return Figures(
        **groups,
        x=main.x,
        hidden=main.hidden,
        undetailed=len(series) - len(detail_series) + main.hidden,
        light=light,
        dark=dark,
    )


def _along(arrangement: Layout, open_loop: bool, left_out: str | None) -> list[Plot | None]:
    """left_out: the distribution that is not drawn."""
    plots = []
    # In an open loop the wait of a late request counts
    kinds = [*([_FROM_SCHEDULED] if open_loop else []), *_BY_X]
    for i, facet in enumerate(arrangement.facets):
        # one line a percentile is readable for one series; with several, the p95 of each is
        percentiles = ("p50", "p95", "p99") if len(facet.series) == 1 else ("p95",)
        suffix = "" if len(percentiles) > 1 else ", p95"
        for kind, title in kinds:
            if kind == left_out:
                continue
            metrics = [f"{kind}.{percentile}" for percentile in percentiles]
            name = f"by{i}-{kind}"
            note = _note(kind, [cell for series in facet.series for cell in series.cells])
            plots.append(along(name, title + suffix, facet, arrangement.x, metrics, "ms", note))
    return plots


def _note(metric: str, cells: list[CellResult]) -> str:
    return chunk_note(cells) if metric == "itl_ms" else ""


def _ranks(arrangement: Layout, rate: Rate) -> list[Plot | None]:
    plots = []
    for i, facet in enumerate(arrangement.facets):
        plots += [
            along(
                f"ranks{i}-rate",
                "Throughput by ranks",
                facet,
                "ranks",
                [rate.metric],
                rate.unit,
                _INTERVALS,
            ),
            along(
                f"ranks{i}-ttft",
                "TTFT by ranks, p95",
                facet,
                "ranks",
                ["ttft_ms.p95"],
                "ms",
                _INTERVALS,
            ),
        ]
    return plots
