"""The same cells in many result sets, over time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mls.analysis.intervals import Estimate
from mls.analysis.result_sets import opened
from mls.analysis.study import CellResult, Study
from mls.core.errors import UserError

METRICS = ("throughput", "latency_ms.p95", "ttft_ms.p95")
"""`throughput`: of the window, else of whole runs."""


@dataclass(frozen=True)
class Point:
    """One cell in one result set."""

    started_utc: str
    source: str
    """File name of the archive, or folder."""
    build: str
    verdict: str
    estimates: dict[str, Estimate]
    """By the names in `METRICS`; what isn't known is left out."""


@dataclass(frozen=True)
class Trend:
    cell: dict[str, Any]
    unit: str
    """Of `throughput`: tokens/s, or requests/s where replies are embeddings."""
    points: list[Point]
    """By time."""


@dataclass(frozen=True)
class History:
    trends: list[Trend]
    unread: list[str]
    """Why a result set in the folder could not be read."""


def history(folder: Path) -> History:
    """All archives (`*.zip`) and result folders (with `runs`) in a folder, cell by cell.

    Raises `UserError` when there are none that can be read.
    """
    sources = sorted(p for p in folder.glob("*") if p.suffix == ".zip" or (p / "runs").is_dir())
    found: dict[str, Trend] = {}
    unread: list[str] = []
    for source in sources:
        try:
            with opened(source) as results:
                _add(found, results.study, source.name)
        except UserError as error:
            unread.append(str(error))
    if not found:
        why = f" ({'; '.join(unread[:3])})" if unread else ""
        raise UserError(f"{folder} has no archive and no folder of results that can be read{why}.")
    trends = [
        Trend(trend.cell, trend.unit, sorted(trend.points, key=lambda point: point.started_utc))
        for trend in found.values()
    ]
    return History(trends, unread)


def _add(found: dict[str, Trend], study: Study, source: str) -> None:
    """Raises `UserError` when no repeat has a result."""
    if not study.measured:
        raise UserError(
            f"{source} has no result of any of the {study.planned} repeats that its config "
            f"({study.config.name}) plans."
        )
    for cell in study.cells:
        if cell.ok:
            key = f"{_key(cell)} in {study.rate.unit}"
            trend = found.setdefault(key, Trend(cell.cell, study.rate.unit, []))
            trend.points.append(_point(cell, study.rate.metric, source))


def _key(cell: CellResult) -> str:
    return "/".join(f"{axis}~{cell.cell[axis]}" for axis in sorted(cell.cell))


def _point(cell: CellResult, rate: str, source: str) -> Point:
    results = [repeat.result for repeat in cell.ok if repeat.result]
    known = {
        "throughput": cell.estimates.get(rate),
        **{metric: cell.estimates.get(metric) for metric in METRICS[1:]},
    }
    return Point(
        started_utc=min(str(r.clock.get("started_utc") or "") for r in results),
        source=source,
        build=str((results[0].server.get("before") or {}).get("build") or ""),
        verdict=cell.verdict,
        estimates={metric: estimate for metric, estimate in known.items() if estimate},
    )
