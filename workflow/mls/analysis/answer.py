"""The answer as data: the best cell for throughput, the best for latency, and the cost of each."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis import intervals
from mls.analysis.asked.scenarios import Change, changes, scenarios
from mls.analysis.cell.result import CellResult
from mls.analysis.checks.cells.measured_together import apart
from mls.analysis.intervals import Estimate
from mls.analysis.knee import Knee, alike, knee
from mls.analysis.objectives import UnderSlo, under_slo
from mls.analysis.study import Rate, Study
from mls.config.axes import Cell

LATENCY = "latency_ms.p95"


@dataclass(frozen=True)
class Best:
    """The cell with the best value of a metric, among the cells that are trusted."""

    metric: str
    cell: CellResult
    value: Estimate
    rivals: list[CellResult]
    """Other cells that may be better or worse: the intervals don't exclude either."""
    alike: list[CellResult]
    """Other cells that are practically as good."""
    compared: int
    """Number of other cells that it was compared with."""
    at_edge: bool
    """It has the highest `inflight` of the sweep: the optimum may lie beyond."""
    apart: bool
    """Not all cells were measured together: the intervals leave out what changed in between."""

    @property
    def unclear(self) -> bool:
        """Whether there are intervals, and they don't separate it from its rivals."""
        return self.value.low is not None and bool(self.compared and self.rivals)

    @property
    def resolved(self) -> bool | None:
        """Whether it is surely the best. None without intervals or without other cells."""
        if self.apart or self.unclear:
            return False
        return None if self.value.low is None or not self.compared else True


@dataclass(frozen=True)
class Scenario:
    """The answer among the cells that are asked the same: a choice where there are several."""

    asked: Cell
    """Axes of what is asked, with their values here."""
    throughput: Best
    latency: Best
    under_slo: UnderSlo | None


@dataclass(frozen=True)
class ModelAnswer:
    """The answer for one model. The bests are None when none of its cells has a result.

    Where cells differ in what is asked of the server, bests, knee and objectives are those of the
    first scenario: between scenarios there is nothing to choose, and figures change.
    """

    model: str
    cells: list[CellResult]
    asked: Cell
    """Axes of what is asked that vary, with their values in the first scenario."""
    changes: list[Change]
    """How figures change from the best cell for throughput along these axes."""
    scenarios: list[Scenario]
    """The other scenarios."""
    throughput: Best | None
    latency: Best | None
    knee: Knee | None
    """The knee among the cells that differ from the best for throughput in inflight only."""
    under_slo: UnderSlo | None
    """None without objectives, or without a cell to choose from."""
    goodput: Best | None
    gain: Estimate | None
    """Throughput of the best cell for throughput, over that of the best for latency."""
    cost: Estimate | None
    """Mean latency of the best cell for throughput, over that of the best for latency."""
    distrusted: list[CellResult]
    """Cells left out of the choice because a check failed on them."""
    trusted: bool
    """False when each cell failed a check: then the bests are of figures that can't be believed."""
    apart: list[tuple[CellResult, float]]
    """Candidates that were not measured together with most others, each with the gap in s."""


@dataclass(frozen=True)
class Answer:
    rate: Rate
    """The figure that stands for throughput: of the window, or of whole runs."""
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
    rate, good = study.rate.metric, f"{study.rates}.good_requests_per_s"
    cells = [cell for cell in study.cells if cell.cell["model"] == name]
    complete = [cell for cell in cells if cell.ok and LATENCY in cell.estimates]
    suspect = [cell for cell in complete if cell.checks("fail")]
    trustworthy = [cell for cell in complete if not cell.checks("fail")]
    candidates = trustworthy or complete
    (asked, first), *others = scenarios(candidates) or [({}, [])]
    throughput = _best(rate, first, highest=True, tie_break=LATENCY)
    latency = _best(LATENCY, first, highest=False, tie_break=rate)
    gain = cost = None
    if throughput and latency and throughput.cell is not latency.cell:
        gain = intervals.ratio(throughput.cell.values(rate), latency.cell.values(rate))
        mean = "latency_ms.mean"
        cost = intervals.ratio(throughput.cell.values(mean), latency.cell.values(mean))
    return ModelAnswer(
        model=name,
        cells=cells,
        asked=asked,
        changes=changes(throughput.cell, candidates, [rate, LATENCY, good]) if throughput else [],
        scenarios=[one for values, own in others if (one := _scenario(study, values, own))],
        throughput=throughput,
        latency=latency,
        knee=knee(_line(throughput.cell, first), rate) if throughput else None,
        under_slo=under_slo(study.config.slo, first, rate),
        goodput=_best(f"{study.rates}.good_requests_per_s", first, highest=True, tie_break=LATENCY),
        gain=gain,
        cost=cost,
        distrusted=suspect if trustworthy else [],
        trusted=bool(trustworthy),
        apart=apart(candidates),
    )


def _scenario(study: Study, asked: Cell, cells: list[CellResult]) -> Scenario | None:
    """The answer among these cells; None where their throughput isn't known."""
    rate = study.rate.metric
    throughput = _best(rate, cells, highest=True, tie_break=LATENCY)
    latency = _best(LATENCY, cells, highest=False, tie_break=rate)
    if not throughput or not latency:
        return None
    return Scenario(asked, throughput, latency, under_slo(study.config.slo, cells, rate))


def _line(through: CellResult, cells: list[CellResult]) -> list[CellResult]:
    """The cells that differ from `through` in inflight only."""

    def other_axes(cell: CellResult) -> dict[str, object]:
        return {axis: value for axis, value in cell.cell.items() if axis != "inflight"}

    return [cell for cell in cells if other_axes(cell) == other_axes(through)]


def _best(metric: str, cells: list[CellResult], *, highest: bool, tie_break: str) -> Best | None:
    """The best cell. Among practically alike cells the metric `tie_break` decides."""
    candidates = [cell for cell in cells if metric in cell.estimates]
    if not candidates:
        return None

    def cost(cell: CellResult, by: str) -> tuple[float, int]:
        value = cell.estimates[by].value if by in cell.estimates else 0.0
        return (value if by == LATENCY else -value, cell.cell["inflight"])

    top = min(candidates, key=lambda cell: cost(cell, metric))
    deficits = {id(cell): _deficit(top, cell, metric, highest) for cell in candidates}
    equals = [cell for cell in candidates if cell is top or alike(deficits[id(cell)])]
    best = min(equals, key=lambda cell: cost(cell, tie_break))
    value = best.estimates[metric]
    others = [cell for cell in candidates if not any(cell is one for one in equals)]
    rivals = [cell for cell in others if not _distinct(deficits[id(cell)])]
    most = max(cell.cell["inflight"] for cell in candidates)
    edge = len({cell.cell["inflight"] for cell in candidates}) > 1 and best.cell["inflight"] == most
    return Best(
        metric,
        best,
        value,
        rivals,
        [cell for cell in equals if cell is not best],
        len(candidates) - 1,
        edge,
        bool(apart(candidates)),
    )


def _deficit(top: CellResult, cell: CellResult, metric: str, highest: bool) -> Estimate | None:
    """How many times worse than the top a cell is, by the figures of the repeats."""
    if cell is top:
        return None
    above, below = (top, cell) if highest else (cell, top)
    return intervals.ratio(above.values(metric), below.values(metric))


def _distinct(worse: Estimate | None) -> bool:
    return worse is not None and worse.low is not None and worse.low > 1
