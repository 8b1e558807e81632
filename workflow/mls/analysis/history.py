"""The figures of the same cells in many result sets, over time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mls.analysis.cell.result import CellResult
from mls.analysis.intervals import Estimate
from mls.analysis.result_sets import opened
from mls.analysis.study import Study
from mls.core.errors import UserError

METRICS = ("throughput", "latency_ms.p95", "ttft_ms.p95", "ttfa_ms.p95")
"""`throughput` is that of the window, else that of whole runs."""


@dataclass(frozen=True)
class Point:
    """One cell in one result set."""

    started_utc: str
    source: str
    """File name of the archive, or folder."""
    build: str
    verdict: str
    thinks: bool
    estimates: dict[str, Estimate]
    """Name in `METRICS` → estimate; unknown figures are left out."""


@dataclass(frozen=True)
class Trend:
    """One cell over time."""

    cell: dict[str, Any]
    unit: str
    """The unit of `throughput`: tokens/s, or requests/s where replies are embeddings."""
    points: list[Point]
    """In the order of time."""


@dataclass(frozen=True)
class History:
    trends: list[Trend]
    unread: list[str]
    """For each result set that could not be read: the reason."""

    @property
    def thinks(self) -> bool:
        """Whether TTFA is anywhere another figure than TTFT."""
        return any(point.thinks for trend in self.trends for point in trend.points)


def history(folder: Path) -> History:
    """The trends of all archives (`*.zip`) and result folders (with `runs`) in a folder.

    Raises `UserError` when none of them can be read.
    """
    sources = sorted(p for p in folder.glob("*") if p.suffix == ".zip" or (p / "runs").is_dir())
    by_key: dict[str, Trend] = {}
    unread: list[str] = []
    for source in sources:
        try:
            with opened(source) as results:
                _add(by_key, results.study, source.name)
        except UserError as error:
            unread.append(str(error))
    if not by_key:
        why = f" ({'; '.join(unread[:3])})" if unread else ""
        raise UserError(f"{folder} has no archive and no folder of results that can be read{why}.")
    trends = [
        Trend(trend.cell, trend.unit, sorted(trend.points, key=lambda point: point.started_utc))
        for trend in by_key.values()
    ]
    return History(trends, unread)


def _add(by_key: dict[str, Trend], study: Study, source: str) -> None:
    """Add a study's cells to the trends. Raises `UserError` when no repeat has a result."""
    if not study.measured_repeats:
        raise UserError(
            f"{source} has no result of any of the {study.planned_repeats} repeats that its config "
            f"({study.config.name}) plans."
        )
    for cell in study.cells:
        if cell.ok:
            key = f"{_key(cell)} in {study.rate.unit}"
            trend = by_key.setdefault(key, Trend(cell.cell, study.rate.unit, []))
            trend.points.append(_point(cell, study.rate.metric, source))


def _key(cell: CellResult) -> str:
    return "/".join(f"{axis}~{cell.cell[axis]}" for axis in sorted(cell.cell))


def _point(cell: CellResult, rate: str, source: str) -> Point:
    results = [repeat.result for repeat in cell.ok if repeat.result]
    estimates = {
        "throughput": cell.estimates.get(rate),
        **{metric: cell.estimates.get(metric) for metric in METRICS[1:]},
    }
    return Point(
        started_utc=min(str(r.clock.get("started_utc") or "") for r in results),
        source=source,
        build=str((results[0].server.get("before") or {}).get("build") or ""),
        verdict=cell.verdict,
        thinks=cell.thinks,
        estimates={metric: estimate for metric, estimate in estimates.items() if estimate},
    )
