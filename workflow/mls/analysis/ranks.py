"""Does the number of ranks change what is measured? A client that is not the bottleneck has no effect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mls.analysis.comparable import Measured
from mls.analysis.evidence import verdict
from mls.analysis.intervals import Estimate, ratios
from mls.model.checks import Checks
from mls.model.result import Verdict

_TTFT = "ttft_ms.mean"
Effect = tuple[float, str]
"""By how much worse a cell is than another, and that in words."""


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
    """What is worse than in other cells, of each; None for a cell that can't be compared."""
    found: list[list[Effect] | None] = [None] * len(group)
    for metric, what in ((rate, "throughput is lower"), (_TTFT, "TTFT is higher")):
        values = [cell.values(metric) for cell in group]
        known = [i for i, own in enumerate(values) if len(own) > 1 and min(own) > 0]
        if len(known) < 2:
            continue
        compared = ratios([values[i] for i in known], families=2)
        for a, row in zip(known, compared, strict=True):
            own = found[a] = found[a] or []
            for b, ratio in zip(known, row, strict=True):
                worse = ratio.inverse() if metric == rate else ratio
                if _beyond(worse, allowed):
                    text = (
                        f"{what} by {worse.value - 1:.1%} than with ranks {group[b].cell['ranks']}"
                    )
                    own.append((worse.value - 1, text))
    return found


def _judge(effects: list[Effect] | None, allowed: float) -> Verdict:
    if effects is None:
        message = "With a single repeat nothing tells whether ranks matter."
        return verdict("ranks_alike", "unknown", None, allowed, message)
    if effects:
        most, text = max(effects)
        message = (
            f"At the same inflight {text}: the client, not the server, may be what was measured."
        )
        return verdict("ranks_alike", "fail", most, allowed, message)
    message = f"Throughput and TTFT are no worse than with other ranks, to within {allowed:.0%}."
    return verdict("ranks_alike", "pass", 0.0, allowed, message)


def _beyond(estimate: Estimate, allowed: float) -> bool:
    """A ratio above 1 by more than allowed, of which chance is not the cause."""
    return estimate.low is not None and estimate.low > 1 and estimate.value > 1 + allowed
