"""The answer in data: which cell is best for throughput, which for latency, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis import intervals
from mls.analysis.checks.measured_together import apart
from mls.analysis.intervals import Estimate
from mls.analysis.knee import Knee, alike, knee
from mls.analysis.objectives import UnderSlo, under_slo
from mls.analysis.study import CellResult, Rate, Study

LATENCY = "latency_ms.p95"


@dataclass(frozen=True)
class Best:
    """The cell with the best value of a metric among those that can be believed."""

    metric: str
    cell: CellResult
    value: Estimate
    rivals: list[CellResult]
    """Other cells that may be better, or may be worse: the data can't tell."""
    alike: list[CellResult]
    """Other cells that are as good, for all practical purposes."""
    compared: int
    """Number of other cells that it was chosen from."""
    at_edge: bool
    """The best is at the highest `inflight` of the sweep: the optimum may lie beyond."""
    apart: bool
    """Not all of them were measured together, so the intervals don't hold what changed in between."""

    @property
    def unclear(self) -> bool:
        """Whether there are intervals, and they don't tell it from its rivals."""
        return self.value.low is not None and bool(self.compared and self.rivals)

    @property
    def resolved(self) -> bool | None:
        """None when there are no intervals (a single repeat), or nothing to compare with."""
        if self.apart or self.unclear:
            return False
        return None if self.value.low is None or not self.compared else True


@dataclass(frozen=True)
class ModelAnswer:
    """The answer for one model. The bests are None when no cell of it has a result."""

    model: str
    cells: list[CellResult]
    throughput: Best | None
    latency: Best | None
    knee: Knee | None
    """Along inflight, through the best cell for throughput."""
    under_slo: UnderSlo | None
    """None without objectives, or without a cell to choose from."""
    goodput: Best | None
    gain: Estimate | None
    """Throughput at the best cell for throughput, over that at the best for latency."""
    cost: Estimate | None
    """Mean latency at the best cell for throughput, over that at the best for latency."""
    distrusted: list[CellResult]
    """Cells left out of the choice because a check failed on them."""
    trusted: bool
    """False: each cell failed a check, so the bests are of figures that can't be believed."""
    apart: list[tuple[CellResult, float]]
    """Cells of the choice that were not measured together with most others, each with the gap in s."""


@dataclass(frozen=True)
class Answer:
    rate: Rate
    """What throughput is, in the window or of whole runs."""
    models: list[ModelAnswer]
    failed: list[CellResult]
    """Cells in which a repeat has no result."""


def answer(study: Study) -> Answer:
    """Answer for each model of the study, over all its cells."""
    names = list(dict.fromkeys(cell.cell["model"] for cell in study.cells))
    return Answer(
        rate=study.rate,
        models=[_model(study, name) for name in names],
        failed=[cell for cell in study.cells if len(cell.ok) < len(cell.repeats)],
    )


def _model(study: Study, name: str) -> ModelAnswer:
    rate = study.rate.metric
    cells = [cell for cell in study.cells if cell.cell["model"] == name]
    measured = [cell for cell in cells if cell.ok and LATENCY in cell.estimates]
    distrusted = [cell for cell in measured if cell.checks("fail")]
    believed = [cell for cell in measured if not cell.checks("fail")]
    candidates = believed or measured
    throughput = _best(rate, candidates, highest=True, rather=LATENCY)
    latency = _best(LATENCY, candidates, highest=False, rather=rate)
    gain = cost = None
    if throughput and latency and throughput.cell is not latency.cell:
        gain = intervals.ratio(throughput.cell.values(rate), latency.cell.values(rate))
        mean = "latency_ms.mean"
        cost = intervals.ratio(throughput.cell.values(mean), latency.cell.values(mean))
    return ModelAnswer(
        model=name,
        cells=cells,
        throughput=throughput,
        latency=latency,
        knee=knee(_line(throughput.cell, candidates), rate) if throughput else None,
        under_slo=under_slo(study.config.slo, candidates, rate),
        goodput=_best(
            f"{study.rates}.good_requests_per_s", candidates, highest=True, rather=LATENCY
        ),
        gain=gain,
        cost=cost,
        distrusted=distrusted if believed else [],
        trusted=bool(believed),
        apart=apart(candidates),
    )


def _line(through: CellResult, cells: list[CellResult]) -> list[CellResult]:
    """Cells that differ from one in inflight only."""

    def rest(cell: CellResult) -> dict[str, object]:
        return {axis: value for axis, value in cell.cell.items() if axis != "inflight"}

    return [cell for cell in cells if rest(cell) == rest(through)]


def _best(metric: str, cells: list[CellResult], *, highest: bool, rather: str) -> Best | None:
    """The best cell; of those that are practically alike, the one that is better by `rather`."""
    known = [cell for cell in cells if metric in cell.estimates]
    if not known:
        return None

    def cost(cell: CellResult, by: str) -> tuple[float, int]:
        value = cell.estimates[by].value if by in cell.estimates else 0.0
        return (value if by == LATENCY else -value, cell.cell["inflight"])

    top = min(known, key=lambda cell: cost(cell, metric))
    worse = {id(cell): _how_much_worse(top, cell, metric, highest) for cell in known}
    equals = [cell for cell in known if cell is top or alike(worse[id(cell)])]
    best = min(equals, key=lambda cell: cost(cell, rather))
    value = best.estimates[metric]
    others = [cell for cell in known if not any(cell is one for one in equals)]
    rivals = [cell for cell in others if not _told_apart(worse[id(cell)])]
    most = max(cell.cell["inflight"] for cell in known)
    edge = len({cell.cell["inflight"] for cell in known}) > 1 and best.cell["inflight"] == most
    return Best(
        metric,
        best,
        value,
        rivals,
        [cell for cell in equals if cell is not best],
        len(known) - 1,
        edge,
        bool(apart(known)),
    )


def _how_much_worse(
    top: CellResult, cell: CellResult, metric: str, highest: bool
) -> Estimate | None:
    """How many times worse than the top a cell is, by the repeats' own figures."""
    if cell is top:
        return None
    above, below = (top, cell) if highest else (cell, top)
    return intervals.ratio(above.values(metric), below.values(metric))


def _told_apart(worse: Estimate | None) -> bool:
    return worse is not None and worse.low is not None and worse.low > 1
