"""Does the number of ranks change what is measured? A client that is not the bottleneck has no effect."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mls.analysis.checks.cells import Measured
from mls.analysis.intervals import Estimate, ratios
from mls.analysis.repeat.evidence import verdict
from mls.config.sections.checks import Checks
from mls.core.run_result import Verdict

_TTFT = "ttft_ms.mean"


@dataclass(frozen=True)
class Effect:
    """How many times worse a figure of a cell is than of the cell with other ranks."""

    what: str
    ranks: str
    worse: Estimate

    @property
    def size(self) -> float:
        return self.worse.value - 1

    @property
    def most(self) -> float:
        """How much worse it may be, by its interval."""
        return (self.worse.high or self.worse.value) - 1

    @property
    def text(self) -> str:
        return f"{self.what} by {self.size:.1%} than with ranks {self.ranks}"

    def beyond(self, allowed: float) -> bool:
        """Whether it is worse by more than allowed, of which chance is not the cause."""
        low = self.worse.low
        return low is not None and low > 1 and self.size > allowed


def ranks_alike(cells: Sequence[Measured], rate: str, checks: Checks) -> list[Verdict | None]:
    """For each cell: whether throughput and TTFT are what they are with other `ranks`.

    All cells that differ in `ranks` alone are compared at once, with intervals of all their ratios
    that hold together: of many ranks that are alike, one pair would else differ by chance.
    None for cells that differ from no other in `ranks` alone. rate: name of the throughput.
    """
    found: list[Verdict | None] = [None] * len(cells)
    for group in _groups(cells):
        effects = _effects([cells[i] for i in group], rate, checks.ranks_effect)
        for i, effect in zip(group, effects, strict=True):
            if cells[i].ok:
                found[i] = _judge(effect, checks.ranks_effect)
    return found


def _groups(cells: Sequence[Measured]) -> list[list[int]]:
    """Places of the cells that differ from one another in ranks alone."""
    found: defaultdict[tuple[tuple[str, str], ...], list[int]] = defaultdict(list)
    for i, cell in enumerate(cells):
        others = ((axis, str(value)) for axis, value in cell.cell.items() if axis != "ranks")
        found[tuple(others)].append(i)
    return [places for places in found.values() if len(places) > 1]


def _effects(group: list[Measured], rate: str, allowed: float) -> list[list[Effect] | None]:
    """How much worse each cell is than each other, by each figure; None for one without repeats."""
    effects: list[list[Effect] | None] = [None] * len(group)
    for metric, what in ((rate, "throughput is lower"), (_TTFT, "TTFT is higher")):
        values = [cell.values(metric) for cell in group]
        known = [i for i, own in enumerate(values) if len(own) > 1 and min(own) > 0]
        if len(known) < 2:
            continue
        compared = ratios([values[i] for i in known], families=2)
        for a, row in zip(known, compared, strict=True):
            own = effects[a] = effects[a] or []
            for b, ratio in zip(known, row, strict=True):
                if a != b:
                    worse = ratio.inverse() if metric == rate else ratio
                    own.append(Effect(what, str(group[b].cell["ranks"]), worse))
    return effects


def _judge(effects: list[Effect] | None, allowed: float) -> Verdict:
    if not effects:
        message = "With a single repeat nothing tells whether ranks matter."
        return verdict("ranks_alike", "unknown", None, allowed, message)
    beyond = [effect for effect in effects if effect.beyond(allowed)]
    if beyond:
        most = max(beyond, key=lambda effect: effect.size)
        message = f"At the same inflight {most.text}: the client, not the server, may be what was measured."
        return verdict("ranks_alike", "fail", most.size, allowed, message)
    most = max(effects, key=lambda effect: effect.most)
    if most.size > allowed or most.most >= 2 * allowed:
        # the reach of an interval falls with the root of the repeats
        repeats = math.ceil(most.worse.repeats * max(1.5, ((most.most - most.size) / allowed) ** 2))
        message = (
            f"At the same inflight {most.text}, by chance, or by up to {most.most:.1%}: about "
            f"{repeats} repeats would tell."
        )
        return verdict("ranks_alike", "unknown", most.size, allowed, message)
    message = (
        f"Throughput and TTFT are no worse than with other ranks, to within {allowed:.0%}: "
        f"{2 * allowed:.0%} would have shown."
    )
    return verdict("ranks_alike", "pass", max(0.0, most.size), allowed, message)
