"""Matplotlib figures as inline SVG for light and dark schemes and for screen readers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from mls.report.plots.marks import Line, as_attributes, tag, values
from mls.report.plots.palette import GRID, INK, MUTED, adapt

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: smaller, searchable, in the page's own font
    "text.parse_math": False,  # a `$` in a name is a `$`
    "axes.unicode_minus": True,
    "font.size": 9,
    "axes.titlesize": 9.6,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 9.6,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.major.size": 3,
    "xtick.major.width": 1,
    "xtick.minor.size": 3.2,
    "xtick.minor.width": 0.8,
    "ytick.major.size": 3,
    "ytick.major.width": 1,
    "ytick.minor.size": 3.2,
    "ytick.minor.width": 0.8,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "lines.markersize": 5.5,
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "patch.linewidth": 0.8,
    "figure.constrained_layout.use": True,
}


@contextmanager
def style() -> Iterator[None]:
    """A context with the look of all drawings. Afterwards matplotlib's settings are as before."""
    with mpl.rc_context(_STYLE):
        yield


@dataclass(frozen=True)
class Drawing:
    """A drawing as inline SVG, and its values (`marks.values`)."""

    svg: Markup
    values: dict[str, Any]


def inline(
    figure: Figure, name: str, title: str, description: str, lines: Sequence[Line] = ()
) -> Drawing:
    """The figure as `<svg role="img">`, with `title` and `description`, which are escaped.

    name: prefix of its ids, unique in the page. lines: its values for the page's script. The same
    figure gives the same text: it has no date, ids are hashes, and coordinates have 0.01 pt.
    """
    out = io.StringIO()
    tag(figure, lines)
    FigureCanvasSVG(figure)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    with mpl.rc_context({"svg.hashsalt": name, "figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)  # `savefig` would lay it out twice
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    raw = out.getvalue()
    width, height = figure.get_size_inches() * 72
    body = raw[raw.index("<defs>") : raw.rindex("</svg>")]
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r' id="[A-Za-z][A-Za-z0-9._]*_\d+"', "", body)  # axes_1: not unique in a page
    body = re.sub(r' transform="rotate\(-?0 [^"]*"', "", body)
    body = re.sub(r' (?:d|x|y)="[^"]*"', _round, body)
    body = re.sub(r" font-family: [^;]*;", "", body)
    body = re.sub(r"\n\s*", "\n", body)
    svg = Markup(  # safe: matplotlib escapes all text that it draws
        f'<svg role="img" aria-labelledby="{escape(name)}-t {escape(name)}-d" '
        f'viewBox="0 0 {width:g} {height:g}" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{escape(name)}-t">{escape(title)}</title>'
        f'<desc id="{escape(name)}-d">{escape(description)}</desc>{as_attributes(adapt(body))}</svg>'
    )
    return Drawing(svg, values(figure, lines))


def _round(attribute: re.Match[str]) -> str:
    return re.sub(r"(\d+\.\d{2})\d+", r"\1", attribute.group(0))
