"""A comparison of two sets of results as text, as Markdown and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

from mls.analysis.comparison import ORDER, CellChange, Change
from mls.report.pages.comparison import MARKS, ComparisonView, name, percent, value
from mls.report.text.numbers import NARROW, P95

Format = Literal["text", "markdown", "json"]
MOST_CELLS = 100
"""Cells in Markdown, the worst first: a comment on a pull request takes 65,536 characters."""
MOST_DIFFERENCES = 40
MOST_OF_A_FACT = 120


def as_text(view: ComparisonView, style: Format) -> str:
    """The comparison in one of the forms, ready to be printed."""
    forms: dict[Format, Callable[[ComparisonView], str]] = {
        "text": _lines,
        "markdown": _markdown,
        "json": _json,
    }
    return forms[style](view)


def _lines(view: ComparisonView) -> str:
    """One line for each cell, one for the replies to canaries, then the other differences."""
    texts = []
    for cell in view.comparison.cells:
        parts = [f"{c.metric.title.lower()} {percent(c.ratio)} ({c.finding})" for c in cell.changes]
        checks = f" [failed checks: {', '.join(cell.distrusted)}]" if cell.distrusted else ""
        texts.append(f"{cell.finding:10} {name(cell.cell)}: {'; '.join(parts)}{checks}")
    texts += [view.replies] if view.replies else []
    for side, only in _only(view):
        texts += [f"only in {side}: {name(cell)}" for cell in only]
    texts += [f"differs: {d.what}: {d.base or '–'} → {d.new or '–'}" for d in view.differences]
    return _plain("\n".join(texts))


def _markdown(view: ComparisonView) -> str:
    """A summary, a table with a row for each cell, and the other differences, folded."""
    comparison = view.comparison
    metrics = list(dict.fromkeys(c.metric.title for cell in comparison.cells for c in cell.changes))
    tally = ", ".join(f"{count} {MARKS[f]} {f}" for f, count in view.tally.items())
    cells = sorted(comparison.cells, key=lambda cell: ORDER.index(cell.finding))
    texts = [
        f"### Benchmark: {tally}",
        "",
        f"{_code(view.new)} against {_code(view.base)}. Worse and better: by more than "
        f"{100 * comparison.margin:g}{NARROW}%, with a {P95} interval of the ratio that excludes 1, and "
        "more surely than chance explains among so many figures.",
        "",
        *_table(
            ["cell", "verdict", *metrics],
            [_row(cell, metrics) for cell in cells[:MOST_CELLS]],
        ),
    ]
    if len(cells) > MOST_CELLS:
        texts += ["", f"{len(cells) - MOST_CELLS} more cells are on the page."]
    if view.replies:
        texts += ["", view.replies]
    for side, only in _only(view):
        names = ", ".join(_code(name(cell)) for cell in only[:MOST_CELLS])
        texts += ["", f"Only in {side}: {names}."]
    facts = [
        [_code(d.what), _code(d.base or "–"), _code(d.new or "–")]
        for d in view.differences[:MOST_DIFFERENCES]
    ]
    if facts:
        heading = f"What differs beside the figures ({len(view.differences)})"
        table = _table(["what", "base", "new"], facts)
        texts += ["", f"<details><summary>{heading}</summary>", "", *table, "", "</details>"]
    return _plain("\n".join(texts))


def _row(cell: CellChange, metrics: list[str]) -> list[str]:
    by_title = {change.metric.title: change for change in cell.changes}
    failed = f"<br>failed checks: {', '.join(cell.distrusted)}" if cell.distrusted else ""
    return [
        _code(name(cell.cell)),
        f"{MARKS[cell.finding]} {cell.finding}{failed}",
        *(_change(by_title[title]) if title in by_title else "–" for title in metrics),
    ]


def _change(change: Change) -> str:
    words = f"{percent(change.ratio)}<br>{value(change, 'base')} → {value(change, 'new')}"
    return f"**{words}**" if change.finding == "worse" else words


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _code(text: str) -> str:
    """Text from outside as code, in which nothing has a meaning: no link, tag, name or new cell."""
    whole = " ".join(text.split())
    short = whole if len(whole) <= MOST_OF_A_FACT else f"{whole[:MOST_OF_A_FACT]}…"
    return f"`{short.replace('`', 'ˋ').replace('|', '¦')}`"


def _json(view: ComparisonView) -> str:
    """All of it as one object; docs/CI.md has its keys."""
    comparison = view.comparison
    data = {
        "base": view.base,
        "new": view.new,
        "margin": comparison.margin,
        "tally": view.tally,
        "cells": [
            {
                "cell": cell.cell,
                "finding": cell.finding,
                "failed_checks": cell.distrusted,
                "figures": [_figure(change) for change in cell.changes],
            }
            for cell in comparison.cells
        ],
        "canaries": asdict(comparison.canaries) if comparison.canaries else None,
        "only_base": comparison.only_base,
        "only_new": comparison.only_new,
        "differences": [asdict(one) for one in view.differences],
    }
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)


def _figure(change: Change) -> dict[str, Any]:
    estimates = {"base": change.base, "new": change.new, "ratio": change.ratio}
    return {
        "metric": change.metric.name,
        "title": change.metric.title,
        "unit": change.metric.unit,
        "higher_is_better": change.metric.higher_is_better,
        **{
            side: {
                "value": _finite(one.value),
                "low": _finite(one.low),
                "high": _finite(one.high),
                "repeats": one.repeats,
            }
            for side, one in estimates.items()
        },
        "chance": change.chance,
        "finding": change.finding,
    }


def _finite(value: float | None) -> float | None:
    """None for an end that lies beyond all numbers, as JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None


def _only(view: ComparisonView) -> list[tuple[str, list[dict[str, Any]]]]:
    sides = ("base", view.comparison.only_base), ("new", view.comparison.only_new)
    return [(side, only) for side, only in sides if only]


def _plain(text: str) -> str:
    return text.replace(NARROW, " ").replace("\u2060", "")
