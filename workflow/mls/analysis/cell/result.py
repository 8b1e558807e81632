"""The results of one cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mls.analysis.canaries.replies import (
    CanaryReplies,
)
from mls.analysis.cell.metrics import GOODPUT
from mls.analysis.checks.cells.measured_together import When
from mls.analysis.intervals import Estimate
from mls.analysis.repeat.breakdown import Part
from mls.analysis.repeat.downsample import Course, Curve, Dots
from mls.analysis.repeat.evidence import worst
from mls.analysis.repeat.hardware.series import Series
from mls.analysis.repeats import Repeat
from mls.config.axes import Cell
from mls.core.run_result import Verdict
from mls.core.summary import Speculation, Summary


@dataclass(frozen=True)
class CellResult:
    """The results of one cell."""

    cell: Cell
    repeats: list[Repeat]
    estimates: dict[str, Estimate]
    """Name in `MEANS`, `GOODPUT`, `COST` or `cell.depth.FIGURES`, `DIFFERENT`, or `<distribution>.p<percentile>` of `POOLED` → estimate.

    Unknown figures are left out."""
    curves: dict[str, Curve]
    course: Course | None
    telemetry: dict[tuple[str, str], Series] = field(default_factory=dict)
    """(source, name) → time series of the first repeat that has any."""
    dots: Dots | None = None
    good: tuple[dict[str, float], ...] = ()
    """Goodput of each repeat that is ok."""
    verdicts: tuple[Verdict, ...] = ()
    """Verdicts on the cell as a whole. Those on each repeat are in its result."""
    parts: dict[str, list[Part]] = field(default_factory=dict)
    """Column in `PARTS` → the parts that it numbers; empty where the load has none."""
    categories: dict[str, Speculation] = field(default_factory=dict)
    """Category of text → its drafts; empty where none are known."""
    replies: tuple[str, ...] = ()
    """The first replies' texts; empty unless the config keeps them (`run.keep_output`)."""
    canaries: tuple[CanaryReplies, ...] = ()
    when: When | None = None
    """When it was measured; None where that isn't recorded."""

    @property
    def ok(self) -> list[Repeat]:
        return [repeat for repeat in self.repeats if repeat.status == "ok"]

    @property
    def verdict(self) -> str:
        """The worst verdict on the cell or on a repeat; `fail` when a repeat has no result."""
        if len(self.ok) < len(self.repeats):
            return "fail"
        return worst(v.status for v in self._all())

    @property
    def thinks(self) -> bool:
        """Whether the first answer (TTFA) is not always the first token (TTFT)."""
        first, answer = (self.estimates.get(f"{name}.mean") for name in ("ttft_ms", "ttfa_ms"))
        return answer is not None and (first is None or first.value != answer.value)

    def checks(self, *statuses: str) -> dict[str, int]:
        """Check with one of these statuses → repeats that have it (1 for a check of the cell)."""
        return dict(Counter(v.check for v in self._all() if v.status in statuses))

    @cached_property
    def _summaries(self) -> list[dict[str, Any]]:
        """`Summary` of each repeat that is ok, flattened."""
        return [flatten(repeat.result.summary) for repeat in self.ok if repeat.result]

    def _all(self) -> list[Verdict]:
        return [*(v for repeat in self.ok for v in _verdicts(repeat)), *self.verdicts]

    def values(self, metric: str) -> list[float]:
        """The figure of `Summary` or of the goodput in each repeat that has it."""
        if metric in GOODPUT:
            return [figures[metric] for figures in self.good if metric in figures]
        figures = [summary.get(metric) for summary in self._summaries]
        return [float(value) for value in figures if value is not None]


def flatten(summary: Summary) -> dict[str, Any]:
    """`Summary` in one level, keys joined by dots. Lists and the kinds of errors are left out."""
    figures: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        elif not isinstance(value, list):
            figures[prefix] = value

    walk("", summary.model_dump(exclude={"requests": {"errors"}}))
    return figures


def _verdicts(repeat: Repeat) -> list[Verdict]:
    return repeat.result.verdicts if repeat.result else []
