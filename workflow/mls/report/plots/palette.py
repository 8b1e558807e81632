"""Colours that follow the reader's light or dark scheme: the drawings name CSS variables."""

from __future__ import annotations

import re

import seaborn as sns
from matplotlib.colors import to_hex

INK, MUTED, GRID = "#0a0001", "#0a0002", "#0a0003"
"""Stand-ins that matplotlib draws with; `adapt` replaces them by variables of the page."""

_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line"}
_LINES_LIGHT = ("#1f5fa8", "#c2570c", "#1a7f5a", "#a2327a", "#6a4fc0", "#7d6608")
_LINES_DARK = ("#6cb0f5", "#f5a15b", "#5fd0a0", "#ee8fc8", "#b09cf5", "#dcc65a")
_RAMP_LIGHT = ("#4fb0b8", "#2c6fa6", "#3b1f66")
_RAMP_DARK = ("#4f7fe0", "#4fc0c8", "#e4f5b8")


def line(index: int) -> str:
    """Stand-in for the colour of a line, mostly of a model."""
    return f"#0a01{index:02x}"


def ramp(index: int) -> str:
    """Stand-in for the colour of an ordered value, mostly of inflight."""
    return f"#0a02{index:02x}"


def adapt(svg: str) -> str:
    """Replace the stand-ins by `var(--…)`."""

    def variable(match: re.Match[str]) -> str:
        token = match.group(0)
        if token in _VARIABLES:
            return f"var(--{_VARIABLES[token]})"
        kind = "c" if token[3:5] == "01" else "r"
        return f"var(--{kind}{int(token[5:7], 16)})"

    return re.sub(r"#0a0[0-2][0-9a-f]{2}\b", variable, svg)


def variables(lines: int, ramps: int) -> tuple[str, str]:
    """CSS declarations for the light and for the dark scheme. lines, ramps: numbers of colours."""
    return (
        _declare("c", _lines(_LINES_LIGHT, lines, 0.45))
        + _declare("r", sns.blend_palette(_RAMP_LIGHT, max(ramps, 1))),
        _declare("c", _lines(_LINES_DARK, lines, 0.72))
        + _declare("r", sns.blend_palette(_RAMP_DARK, max(ramps, 1))),
    )


def _lines(colors: tuple[str, ...], count: int, lightness: float) -> list[str]:
    if count <= len(colors):
        return list(colors[: max(count, 1)])
    return list(sns.husl_palette(count, s=0.85, l=lightness))


def _declare(kind: str, colors: list[str]) -> str:
    return "".join(f"--{kind}{i}:{to_hex(color)};" for i, color in enumerate(colors))
