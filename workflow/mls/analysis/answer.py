"""The answer in data: which cell is best for throughput, which for latency, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mls.analysis import intervals
from mls.analysis.intervals import Estimate
from mls.analysis.study import CellResult, Study

LATENCY = "latency_ms.p95"


@dataclass(frozen=True)
class Best:
    """The cell with the best value of a metric among those that can be believed."""

    metric: str
    cell: CellResult
    value: Estimate
    rivals: list[CellResult]
    """Other cells whose intervals overlap: the data can't tell them from the best."""
    compared: int
    """Number of other cells that it was chosen from."""
    at_edge: bool
    """The best is at the highest `inflight` of the sweep: the optimum may lie beyond."""

    @property
    def resolved(self) -> bool | None:
        """None when there are no intervals (a single repeat), or nothing to compare with."""
        if self.value.low is None or not self.compared:
            return None
        return not self.rivals


@dataclass(frozen=True)
class ModelAnswer:
    """The answer for one model. The bests are None when no cell of it has a result."""

    model: str
    cells: list[CellResult]
    throughput: Best | None
    latency: Best | None
    gain: Estimate | None
    """Throughput at the best cell for throughput, over that at the best for latency."""
    cost: Estimate | None
    """Mean latency at the best cell for throughput, over that at the best for latency."""
    distrusted: list[CellResult]
    """Cells left out of the choice because a check failed on them."""
    trusted: bool
    """False: each cell failed a check, so the bests are of figures that can't be believed."""


@dataclass(frozen=True)
class Answer:
    rates: str
    """`throughput` (in the window) or `overall` (whole run): where the rates are from."""
    models: list[ModelAnswer]
    failed: list[CellResult]
    """Cells in which a repeat has no result."""


def answer(study: Study) -> Answer:
    """Answer for each model of the study, over all its cells."""
    names = list(dict.fromkeys(cell.cell["model"] for cell in study.cells))
    return Answer(
        rates=study.rates,
        models=[_model(study, name) for name in names],
        failed=[cell for cell in study.cells if len(cell.ok) < len(cell.repeats)],
    )


def _model(study: Study, name: str) -> ModelAnswer:
    rate = f"{study.rates}.completion_tokens_per_s"
    cells = [cell for cell in study.cells if cell.cell["model"] == name]
    measured = [cell for cell in cells if cell.ok and LATENCY in cell.estimates]
    distrusted = [cell for cell in measured if cell.checks("fail")]
    believed = [cell for cell in measured if not cell.checks("fail")]
    candidates = believed or measured
    throughput = _best(rate, candidates, max)
    latency = _best(LATENCY, candidates, min)
    gain = cost = None
    if throughput and latency and throughput.cell is not latency.cell:
        gain = intervals.ratio(throughput.cell.values(rate), latency.cell.values(rate))
        mean = "latency_ms.mean"
        cost = intervals.ratio(throughput.cell.values(mean), latency.cell.values(mean))
    return ModelAnswer(
        name, cells, throughput, latency, gain, cost, distrusted if believed else [], bool(believed)
    )


def _best(metric: str, cells: list[CellResult], pick: Callable[..., CellResult]) -> Best | None:
    known = [cell for cell in cells if metric in cell.estimates]
    if not known:
        return None
    best = pick(known, key=lambda cell: cell.estimates[metric].value)
    value = best.estimates[metric]
    others = [cell for cell in known if cell is not best]
    # a cell without an interval of its own can't be told apart, either
    rivals = [cell for cell in others if cell.estimates[metric].overlaps(value) is not False]
    most = max(cell.cell["inflight"] for cell in known)
    edge = len({cell.cell["inflight"] for cell in known}) > 1 and best.cell["inflight"] == most
    return Best(metric, best, value, rivals, len(others), edge)
