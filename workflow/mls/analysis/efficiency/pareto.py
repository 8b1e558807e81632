"""Speed for each user against throughput of a GPU, and the cells that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mls.analysis import intervals
from mls.analysis.cell.result import CellResult
from mls.analysis.intervals import Estimate
from mls.analysis.study import Study
from mls.core.units import MS_PER_S

Share = Literal["GPU", "host", "server"]
TPOT = "tpot_ms.p50"


@dataclass(frozen=True)
class Point:
    """One cell. user, share: tokens/s of a user, and of a GPU (host, server)."""

    cell: CellResult
    user: Estimate
    share: Estimate
    on_front: bool


@dataclass(frozen=True)
class Pareto:
    per: Share
    """What throughput is divided by: GPUs that serve; the host, where these aren't known or none;
    nothing, where the server is elsewhere."""
    points: list[Point]
    distrusted: int
    """Number of the points that can't be on the front, as a check failed on them."""


def pareto(study: Study) -> Pareto | None:
    """All cells with both figures; None where no cell has them, as without TPOT or tokens."""
    rate = study.rate
    if rate.unit != "tokens/s":
        return None
    cells = [
        cell
        for cell in study.cells
        if TPOT in cell.estimates and cell.estimates[TPOT].value > 0 and cell.values(rate.metric)
    ]
    if not cells:
        return None
    per = _per(cells)
    points = [
        Point(cell, user_speed(cell), share, False)
        for cell in cells
        if (share := _share(cell, rate.metric, per))
    ]
    trusted = [point for point in points if not point.cell.checks("fail")]
    best = front([(point.user.value, point.share.value) for point in trusted])
    names = {id(trusted[i].cell) for i in best}
    points = [replace(point, on_front=id(point.cell) in names) for point in points]
    return Pareto(per, points, len(points) - len(trusted))


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other is at least as good as in both and better in one.

    More is better in both. They are in ascending order of the first.
    """
    order = sorted(range(len(points)), key=lambda i: points[i], reverse=True)
    best: list[int] = []
    for i in order:
        if not best or points[i][1] > points[best[-1]][1] or points[i] == points[best[-1]]:
            best.append(i)
    return best[::-1]


def user_speed(cell: CellResult) -> Estimate:
    """Tokens/s that a user sees: 1 / TPOT, the median over requests."""
    tpot = cell.estimates[TPOT]
    speed = MS_PER_S / tpot.value
    if tpot.low is None or tpot.high is None or tpot.low <= 0:
        return replace(tpot, value=speed, low=None, high=None)
    return replace(tpot, value=speed, low=MS_PER_S / tpot.high, high=MS_PER_S / tpot.low)


def _per(cells: list[CellResult]) -> Share:
    """The same for all cells: figures of a GPU and of a host don't compare."""
    repeats = [repeat.result for cell in cells for repeat in cell.ok if repeat.result]
    if all(one.summary.gpu and one.summary.gpu.serving for one in repeats):
        return "GPU"
    here = all(one.host.get("server") in ("managed", "local") for one in repeats)
    return "host" if here else "server"


def _share(cell: CellResult, metric: str, per: Share) -> Estimate | None:
    rates = cell.values(metric)
    if per != "GPU":
        return intervals.mean(rates)
    cards = [r.result.summary.gpu.serving for r in cell.ok if r.result and r.result.summary.gpu]
    if len(cards) != len(rates):
        return None
    return intervals.mean([rate / count for rate, count in zip(rates, cards, strict=True) if count])
