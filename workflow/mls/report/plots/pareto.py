"""Drawing of tokens/s a user against tokens/s a GPU (host, server), with its Pareto front."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from mls.analysis.efficiency.pareto import Pareto, Point, pareto
from mls.analysis.intervals import Estimate
from mls.analysis.study import Study
from mls.report.plots.downloads import as_csv
from mls.report.plots.frame.axis import bars
from mls.report.plots.frame.plot import MARKERS, SIZE, Plot, in_words, legend
from mls.report.plots.marks import Line
from mls.report.plots.palette import INK, MUTED, line
from mls.report.plots.series import MOST_LINES, label_or_load
from mls.report.plots.svg import inline

MOST_BARS = 40
"""Points up to which each has its intervals drawn."""
MOST_NAMES = 8
"""Points of the front up to which the note names all."""
LONG_NAME = 22
"""Characters from which on a name would take the drawing's room: points then have numbers."""
_APART = {True: (0.05, 0.07), False: (0.3, 0.07)}
"""Whether labels are numbers → two that are closer, as shares of the axes' lengths, would overlap."""
_WHY = {
    "GPU": "",
    "host": " Of the whole host: on how many GPUs the server is isn't known, or it is on none.",
    "server": " Of the whole server, whose host isn't known.",
}


def pareto_plot(name: str, study: Study) -> Plot | None:
    """All cells in one drawing, a colour for each model; None where no cell has both figures."""
    data = pareto(study)
    if data is None:
        return None
    models = list(dict.fromkeys(str(point.cell.cell["model"]) for point in data.points))
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    lines = []
    for i, model in enumerate(models[:MOST_LINES]):
        points = [point for point in data.points if point.cell.cell["model"] == model]
        lines.append(_cloud(axes, i, model, points, data, study.naming))
    front = sorted((p for p in data.points if p.on_front), key=lambda p: p.user.value)
    telling = _telling(front, study)
    names = [label_or_load(point.cell, telling) for point in front]
    numbered = max(map(len, names), default=0) > LONG_NAME
    numerals = [str(i) for i in range(1, len(front) + 1)]
    if front:
        lines.append(_front(axes, front, numerals if numbered else names, numbered))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("tokens/s a user")
    axes.set_ylabel(f"tokens/s a {data.per}")
    legend(figure, axes)
    title = f"Speed for each user against throughput of a {data.per}"
    description = "; ".join(
        f"{cell}: {_words(point, data)}" for cell, point in zip(names, front, strict=True)
    )
    if numbered:
        names = [f"{numeral}: {cell}" for numeral, cell in zip(numerals, names, strict=True)]
    rows = [
        (label_or_load(p.cell, study.naming), *_numbers(p.user), *_numbers(p.share), p.on_front)
        for p in data.points
    ]
    spans = [f"tokens/s a {of}{end}" for of in ("user", data.per) for end in ("", *_ENDS)]
    csv = as_csv(("cell", *spans, "on front"), rows)
    description = f"On the front: {description}." if front else _NO_FRONT
    drawing = inline(figure, name, title, description, lines)
    return Plot(title, _note(names, data, len(models)), drawing, name, csv)


_ENDS = (".ci95_low", ".ci95_high")
_NO_FRONT = "There is no front: a check failed on every cell."


def _cloud(
    axes: Axes, index: int, model: str, points: list[Point], data: Pareto, names: list[str]
) -> Line:
    at = [point.user.value for point in points], [point.share.value for point in points]
    color = line(index)
    marker = MARKERS[index % len(MARKERS)]
    artists = axes.plot(*at, color=color, marker=marker, ls="", ms=4.5, alpha=0.8, label=model)
    shown = points if len(data.points) <= MOST_BARS else []
    spans = axes.errorbar(
        [point.user.value for point in shown],
        [point.share.value for point in shown],
        xerr=bars([point.user for point in shown]),
        yerr=bars([point.share for point in shown]),
        fmt="none",
        ecolor=color,
        elinewidth=1.1,
        alpha=0.45,
    )
    words = [f"{label_or_load(p.cell, names)}: {_words(p, data)}" for p in points]
    return Line(model, axes, [*artists, spans], [*zip(*at, words, strict=True)])


def _front(axes: Axes, front: list[Point], names: list[str], numbered: bool) -> Line:
    """The line along the front, with the names of its points where there is room for them."""
    at = [point.user.value for point in front], [point.share.value for point in front]
    artists = axes.plot(*at, color=MUTED, lw=1.2, zorder=1, label="Pareto front")
    (_, right), (_, top) = axes.get_xlim(), axes.get_ylim()
    labels: list[Annotation] = []
    last: tuple[float, float] | None = None
    for point, name in zip(front, names, strict=True):
        place = point.user.value / right, point.share.value / top
        if last and all(
            abs(a - b) < least for a, b, least in zip(place, last, _APART[numbered], strict=True)
        ):
            continue
        last = place
        labels.append(
            axes.annotate(
                name,
                (point.user.value, point.share.value),
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=8.5,
                color=INK,
            )
        )
    return Line("Pareto front", axes, [*artists, *labels], [])


def _telling(front: list[Point], study: Study) -> list[str]:
    """The axes by which the points of the front differ; all that name cells where there are none."""
    differ = [axis for axis in study.naming if len({str(p.cell.cell[axis]) for p in front}) > 1]
    return differ or study.naming


def _words(point: Point, data: Pareto) -> str:
    front = ", on the front" if point.on_front else ""
    return (
        f"{in_words(point.user, 'tokens/s a user')}, "
        f"{in_words(point.share, f'tokens/s a {data.per}')}{front}"
    )


def _numbers(estimate: Estimate) -> tuple[float, float | None, float | None]:
    return estimate.value, estimate.low, estimate.high


def _note(names: list[str], data: Pareto, models: int) -> str:
    more = f" and {len(names) - MOST_NAMES} more, in the CSV" if len(names) > MOST_NAMES else ""
    note = _NO_FRONT
    if names:
        which = "; ".join(names[:MOST_NAMES])
        note = f"On the front, which no other cell beats in both: {which}{more}."
    note += " A user's tokens/s: 1 / TPOT, median over requests." + _WHY[data.per]
    if data.distrusted and names:
        note += f" Not on it: {data.distrusted} that failed a check."
    if models > MOST_LINES:
        note += f" Drawn: {MOST_LINES} of {models} models, and the front of all."
    return note
