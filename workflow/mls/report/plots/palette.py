"""Colours that follow the reader's light or dark scheme: the drawings name CSS variables."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex

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
        _declare("c", _lines(_LINES_LIGHT, lines, 0.5)) + _declare("r", _ramp(_RAMP_LIGHT, ramps)),
        _declare("c", _lines(_LINES_DARK, lines, 0.78)) + _declare("r", _ramp(_RAMP_DARK, ramps)),
    )


def _lines(colors: tuple[str, ...], count: int, lightness: float) -> list[str]:
    """The colours, or where there are too few of them hues of one lightness."""
    if count <= len(colors):
        return list(colors[: max(count, 1)])
    return [_oklch(lightness, 0.13, 2 * np.pi * (i + 0.5) / count) for i in range(count)]


def _oklch(lightness: float, chroma: float, hue: float) -> str:
    """A colour of OKLCH (Ottosson 2020), with the nearest that sRGB has of each channel."""
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    cones = (np.array([[0.3963377774, 0.2158037573], [-0.1055613458, -0.0638541728], [-0.0894841775, -1.2914855480]]) @ [a, b] + lightness) ** 3  # fmt: skip
    linear = np.array([[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965], [-0.0041960863, -0.7034186147, 1.7076147010]]) @ cones  # fmt: skip
    linear = linear.clip(0, 1)
    return to_hex(np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear))


def _ramp(colors: tuple[str, ...], count: int) -> list[str]:
    """Colours from the first of `colors` over the others to the last."""
    blend = LinearSegmentedColormap.from_list("ramp", colors)
    return [to_hex(color) for color in blend(np.linspace(0, 1, max(count, 1)))]


def _declare(kind: str, colors: list[str]) -> str:
    return "".join(f"--{kind}{i}:{color};" for i, color in enumerate(colors))
