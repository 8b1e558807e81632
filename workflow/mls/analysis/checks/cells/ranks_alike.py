"""Does the number of ranks change the figures? A client that is no bottleneck has no effect."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mls.analysis.checks.cells.agreement import CellFigures
from mls.analysis.intervals import Estimate, ratios
from mls.analysis.repeat.evidence import verdict
from mls.config.sections.checks import Checks
from mls.core.run_result import Verdict

_TTFT = "ttft_ms.mean"


@dataclass(frozen=True)
class Effect:
    """How many times worse a figure is in one cell than in a cell with other ranks."""

    what: str
    ranks: str
    worse: Estimate

    @property
    def size(self) -> float:
        return self.worse.value - 1

    @property
    def most(self) -> float:
        """The most by which it may be worse, by its interval."""
        return (self.worse.high or self.worse.value) - 1

    @property
    def text(self) -> str:
        return f"{self.what} by {self.size:.1%} than with ranks {self.ranks}"

    def beyond(self, threshold: float) -> bool:
        """Whether it is worse by more than the threshold, and not by chance."""
        low = self.worse.low
        return low is not None and low > 1 and self.size > threshold


def ranks_alike(cells: Sequence[CellFigures], rate: str, checks: Checks) -> list[Verdict | None]:
    """For each cell: whether throughput and TTFT are those of the cells with other `ranks`.

    rate: the metric of throughput. All cells that differ in `ranks` alone are compared at once. The
    intervals of their ratios hold together: otherwise one pair of many would differ by chance. None
    for a cell without a result, and for one that differs from no other in `ranks` alone.
    """
    verdicts: list[Verdict | None] = [None] * len(cells)
    for group in _groups(cells):
        effects = _effects([cells[i] for i in group], rate, checks.ranks_effect)
        for i, effect in zip(group, effects, strict=True):
            if cells[i].ok:
                verdicts[i] = _judge(effect, checks.ranks_effect)
    return verdicts


def _groups(cells: Sequence[CellFigures]) -> list[list[int]]:
    """Indices of the cells that differ from one another in ranks alone, group by group."""
    groups: defaultdict[tuple[tuple[str, str], ...], list[int]] = defaultdict(list)
    for i, cell in enumerate(cells):
        others = ((axis, str(value)) for axis, value in cell.cell.items() if axis != "ranks")
        groups[tuple(others)].append(i)
    return [places for places in groups.values() if len(places) > 1]


def _effects(group: list[CellFigures], rate: str, threshold: float) -> list[list[Effect] | None]:
    """The effects of each cell against each other; None for a cell with too few repeats."""
    effects: list[list[Effect] | None] = [None] * len(group)
    for metric, what in ((rate, "throughput is lower"), (_TTFT, "TTFT is higher")):
        values = [cell.values(metric) for cell in group]
        indices = [i for i, own in enumerate(values) if len(own) > 1 and min(own) > 0]
        if len(indices) < 2:
            continue
        matrix = ratios([values[i] for i in indices], families=2)
        for a, row in zip(indices, matrix, strict=True):
            own = effects[a] = effects[a] or []
            for b, ratio in zip(indices, row, strict=True):
                if a != b:
                    worse = ratio.inverse() if metric == rate else ratio
                    own.append(Effect(what, str(group[b].cell["ranks"]), worse))
    return effects


def _judge(effects: list[Effect] | None, threshold: float) -> Verdict:
    if not effects:
        message = "With a single repeat nothing tells whether ranks matter."
        return verdict("ranks_alike", "unknown", None, threshold, message)
    beyond = [effect for effect in effects if effect.beyond(threshold)]
    if beyond:
        most = max(beyond, key=lambda effect: effect.size)
        message = f"At the same inflight {most.text}: the client, not the server, may be what was measured."
        return verdict("ranks_alike", "fail", most.size, threshold, message)
    most = max(effects, key=lambda effect: effect.most)
    if most.size > threshold or most.most >= 2 * threshold:
        # the reach of an interval falls with the root of the repeats
        repeats = math.ceil(
            most.worse.repeats * max(1.5, ((most.most - most.size) / threshold) ** 2)
        )
        message = (
            f"At the same inflight {most.text}, by chance, or by up to {most.most:.1%}: about "
            f"{repeats} repeats would tell."
        )
        return verdict("ranks_alike", "unknown", most.size, threshold, message)
    message = (
        f"Throughput and TTFT are no worse than with other ranks, to within {threshold:.0%}: "
        f"{2 * threshold:.0%} would have shown."
    )
    return verdict("ranks_alike", "pass", max(0.0, most.size), threshold, message)
