"""Tables on the terminal, as CSV, and the plots beside them."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.rig import RESULTS


def save(rows: list[dict[str, object]], name: str) -> pd.DataFrame:
    """Write one row a run to `results/bench/<name>.csv`; returns the table."""
    frame = pd.DataFrame(rows)
    RESULTS.mkdir(parents=True, exist_ok=True)
    frame.to_csv(RESULTS / f"{name}.csv", index=False)
    return frame


def summarise(frame: pd.DataFrame, by: list[str], values: list[str]) -> pd.DataFrame:
    """Median, lowest and highest over the repeats of each value: `x`, `x_low`, `x_high`."""
    groups = frame.groupby(by, sort=False, dropna=False)[values]
    low, high = groups.min().add_suffix("_low"), groups.max().add_suffix("_high")
    return pd.concat([groups.median(), low, high], axis=1).reset_index()


def show(title: str, summary: pd.DataFrame, by: list[str], values: dict[str, str]) -> None:
    """Print a summary: `values` maps columns to headings. Median, and below it lowest–highest."""
    table = Table(title=title, title_justify="left", show_lines=True)
    for name in by:
        table.add_column(name)
    for heading in values.values():
        table.add_column(heading, justify="right")
    for _, row in summary.astype(object).iterrows():
        cells = [_cell(row[v], row[f"{v}_low"], row[f"{v}_high"]) for v in values]
        table.add_row(*(str(row[name]) for name in by), *cells)
    Console(width=max(170, Console().width)).print(table)


def _cell(median: float, low: float, high: float) -> str:
    if pd.isna(median):
        return "–"
    return (
        figure(median) if low == high else f"{figure(median)}\n{figure(low, 2)}–{figure(high, 2)}"
    )


def figure(value: float, digits: int = 3) -> str:
    """A value with `digits` significant digits; without decimals and with commas from 100 on."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if value else "0"


def plot_lines(
    summary: pd.DataFrame, x: str, y: str, lines: str, labels: tuple[str, str], title: str
) -> Figure:
    """One line for each value of `lines`, with the spread of the repeats as bars; log-log."""
    drawing, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, part in summary.dropna(subset=[y]).groupby(lines, sort=False):
        spread = [part[y] - part[f"{y}_low"], part[f"{y}_high"] - part[y]]
        axes.errorbar(part[x], part[y], yerr=spread, marker="o", capsize=3, label=str(name))
    axes.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1], title=title)
    axes.set_xticks(sorted(summary[x].unique()), [str(v) for v in sorted(summary[x].unique())])
    axes.minorticks_off()
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize="small")
    return drawing


def plot_bars(
    summary: pd.DataFrame, label: str, y: str, title: str, unit: str, *, log: bool = False
) -> Figure:
    """One bar for each row, with the spread of the repeats."""
    drawing, axes = plt.subplots(figsize=(7, 0.5 * len(summary) + 1.5), layout="constrained")
    part = summary.dropna(subset=[y]).iloc[::-1]
    spread = [part[y] - part[f"{y}_low"], part[f"{y}_high"] - part[y]]
    axes.barh(part[label].astype(str), part[y], xerr=spread, capsize=3)
    axes.set(xlabel=unit, title=title)
    if log:
        axes.set_xscale("log")
    axes.grid(True, axis="x", alpha=0.3)
    return drawing


def save_plot(drawing: Figure, name: str) -> Path:
    """Write the plot to `results/bench/<name>.svg`, whose path is returned."""
    path = RESULTS / f"{name}.svg"
    drawing.savefig(path)
    plt.close(drawing)
    return path
