"""What users who leave cost the others: times of the complete requests with hang-ups and without."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis import intervals
from mls.analysis.canaries.references import as_key
from mls.analysis.cell.result import CellResult
from mls.analysis.checks.cells.measured_together import apart
from mls.analysis.intervals import Estimate
from mls.analysis.study import Study
from mls.config.axes import CANCEL_SHARE

TIMES = {"ttft_ms.mean": "TTFT", "tpot_ms.mean": "TPOT"}
"""Figure of `Summary` that is compared → its name."""


@dataclass(frozen=True)
class LeaversCost:
    """A cell with hang-ups beside the one without, whose other axes are the same."""

    cell: CellResult
    ratios: dict[str, Estimate]
    """Figure in `TIMES` → with hang-ups over without."""
    apart: bool
    """Whether the two were not measured together: then the intervals leave out what changed."""
    trusted: bool
    """Whether no check failed on either."""


def leavers_costs(study: Study) -> list[LeaversCost]:
    """The cost of users who leave, of each cell with hang-ups that has a counterpart without any."""
    without = {as_key(cell.cell): cell for cell in study.cells if not cell.cell.get(CANCEL_SHARE)}
    costs = []
    for cell in study.cells:
        base = without.get(as_key(cell.cell | {CANCEL_SHARE: 0}))
        if base is None or not cell.cell.get(CANCEL_SHARE):
            continue
        pairs = {figure: (cell.values(figure), base.values(figure)) for figure in TIMES}
        ratios = {name: intervals.ratio(*values) for name, values in pairs.items()}
        known = {name: ratio for name, ratio in ratios.items() if ratio}
        if known:
            trusted = not (cell.checks("fail") or base.checks("fail"))
            costs.append(LeaversCost(cell, known, bool(apart([cell, base])), trusted))
    return costs
