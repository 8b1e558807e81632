"""Checks of whole cells: do repeats agree, are requests enough, are cells alike in all but the axes?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import stats

from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.evidence import excess, verdict
from mls.analysis.repeats import Repeat
from mls.analysis.sample_size import MISS, least_samples
from mls.config.cells import Cell
from mls.config.sections.checks import Checks
from mls.core.run_result import RunResult, Verdict
from mls.server.several import differing

ALPHA = 0.01
MEDIAN = 50
TINY = 1e-18
"""A variance of logarithms that is none, but for rounding."""


class Measured(Protocol):
    """What these checks must know of a cell."""

    @property
    def cell(self) -> Cell: ...
    @property
    def ok(self) -> list[Repeat]: ...
    def values(self, metric: str) -> list[float]: ...


def enough_requests(count: int, checks: Checks) -> Verdict:
    """Whether `count` successful requests of all repeats support the percentile asked for."""
    least, needed = least_samples(MEDIAN), least_samples(checks.percentile)
    name = f"p{checks.percentile}"
    if count < least:
        message = (
            f"Only {count} requests succeeded in all repeats: not even a median can be told from "
            f"fewer than {least}."
        )
        return verdict("enough_requests", "fail", float(count), float(needed), message)
    if count < needed:
        message = (
            f"{name} of {count} requests is hardly more than their maximum: {needed} are needed "
            "(run.rounds, run.iters or run.duration_s, and repeats)."
        )
        return verdict("enough_requests", "warn", float(count), float(needed), message)
    message = f"{count} requests in all repeats are enough for {name}, which needs {needed}."
    return verdict("enough_requests", "pass", float(count), float(needed), message)


def repeats_agree(
    numbers: Sequence[int],
    latencies: Sequence[Floats],
    batches: Sequence[Floats],
    checks: Checks,
) -> Verdict:
    """Variance between repeats against that within them, of the requests' latency.

    numbers, latencies: number and samples in ms of each repeat; batches: mean latencies of the
    batches of its window, as multiples of anything. It warns when the repeats' means spread by more
    than `checks.repeat_spread` and by more than batches within repeats explain (one-way analysis of
    variance, on logarithms), fails from twice that on, and names the repeat that is farthest from
    the others. It passes when repeats that spread by twice that would have been told from these.
    """
    allowed = checks.repeat_spread
    known = [(n, x, b) for n, x, b in zip(numbers, latencies, batches, strict=True) if len(x)]
    if len(known) < 2:
        message = "With a single repeat nothing tells how much repeats differ."
        return verdict("repeats_agree", "unknown", None, allowed, message)
    means = np.array([x.mean() for _, x, _ in known])
    spread = float(means.std(ddof=1) / means.mean())
    said = f"The mean latencies of {len(known)} repeats spread by {spread:.1%}"
    within = Within.of([b for _, _, b in known])
    chance = within.chance(means) if within else 1.0
    if spread > allowed and chance < ALPHA:
        who = _odd_one([n for n, _, _ in known], means)
        message = f"{said}, far more than requests within a repeat do: {who}."
        return verdict("repeats_agree", excess(spread, allowed), spread, allowed, message)
    if within is None or spread > allowed or not within.excludes(means, 2 * allowed):
        message = (
            f"{said}; requests within a repeat vary so much, or are so few, that a spread of "
            f"{2 * allowed:.0%} can't be told from chance: measure longer (run.rounds, run.iters or "
            "run.duration_s)."
        )
        return verdict("repeats_agree", "unknown", spread, allowed, message)
    message = f"{said}; {2 * allowed:.0%} would have shown."
    return verdict("repeats_agree", "pass", spread, allowed, message)


@dataclass(frozen=True)
class Within:
    """How much the batches of one repeat vary, on logarithms, all repeats together."""

    variance: float
    freedom: int
    batches: float
    """Of a repeat, on average."""

    @classmethod
    def of(cls, batches: list[Floats]) -> Within | None:
        """None when there is a repeat with fewer than two batches."""
        if min(map(len, batches)) < 2:
            return None
        freedom = sum(len(own) - 1 for own in batches)
        squares = sum(float(np.log(own).var(ddof=1)) * (len(own) - 1) for own in batches)
        return cls(squares / freedom, freedom, float(np.mean([len(own) for own in batches])))

    def ratio(self, means: Floats) -> float:
        """Fisher's F: variance between the repeats over what the variance within makes of it."""
        between = self.batches * float(np.log(means).var(ddof=1))
        if self.variance > TINY:
            return between / self.variance
        return math.inf if between > TINY else 0.0

    def chance(self, means: Floats) -> float:
        """Probability of such a spread, were the repeats alike."""
        return float(stats.f.sf(self.ratio(means), len(means) - 1, self.freedom))

    def excludes(self, means: Floats, spread: float) -> bool:
        """Whether repeats that truly spread so would have spread more, but for the chance `MISS`."""
        if self.variance <= TINY:
            return float(np.log(means).std(ddof=1)) < spread
        others = len(means) - 1
        apart = self.batches * others * spread**2 / self.variance
        missed = math.nan
        while math.isnan(missed):
            # where it is next to nothing scipy has no number at times; the nearer, the greater it is
            missed = float(stats.ncf.cdf(self.ratio(means), others, self.freedom, apart))
            apart /= 2
        return missed < MISS


def _odd_one(numbers: list[int], means: Floats) -> str:
    """Which repeat is farthest from the others, in words."""
    if len(means) == 2:
        return f"{means[0]:.4g} ms and {means[1]:.4g} ms"
    away = [abs(means[i] - np.delete(means, i).mean()) for i in range(len(means))]
    odd = int(np.argmax(away))
    others = float(np.delete(means, odd).mean())
    return (
        f"repeat {numbers[odd]} is farthest from the others, with {means[odd]:.4g} ms against "
        f"{others:.4g} ms"
    )


def same_thing_measured(cells: Sequence[Measured]) -> list[Verdict]:
    """For each cell: whether its server and environment are those of the other cells.

    Held against what most repeats have, so the odd ones are what fails. What the cell's axes
    determine (slots with an axis `parallel`, the model's file with `model`) is compared only among
    cells that agree in them.
    """
    usual = _usual([r.result for c in cells for r in c.ok if r.result])
    return [_same_thing(cell, usual) for cell in cells]


Identity = dict[str, tuple[tuple[Any, ...], Any]]
"""What was measured: name → (what it must be compared within, its value)."""


def identity(result: RunResult) -> Identity:
    """What must be alike in all cells: server build, slots, context, model, environment."""
    state = result.server.get("before") or {}
    server = result.config.get("server") or {}
    model = result.config.get("model") or {}
    name = result.cell.get("model")
    slots, ctx = (server.get("parallel"), server.get("fleet")), server.get("ctx")
    return {
        "server build": ((), state.get("build")),
        "slots": ((name, slots), state.get("slots")),
        "context of a slot": ((name, slots, ctx), state.get("ctx_per_slot")),
        "model file": ((name,), model.get("file_sha256")),
        "environment": ((), result.environment.get("digest")),
    }


def _usual(results: list[RunResult]) -> dict[tuple[str, Any], Any]:
    """(name, what it is compared within) → the value that most repeats have."""
    counts: dict[tuple[str, Any], Counter[Any]] = {}
    for result in results:
        for name, (within, value) in identity(result).items():
            if value is not None:
                counts.setdefault((name, within), Counter())[value] += 1
    return {key: found.most_common(1)[0][0] for key, found in counts.items()}


def _same_thing(cell: Measured, usual: dict[tuple[str, Any], Any]) -> Verdict:
    check, odd, known = "same_thing_measured", [], set()
    for repeat in cell.ok:
        for name, (within, value) in identity(repeat.result).items() if repeat.result else ():
            if value is None:
                continue
            known.add(name)
            most = usual[name, within]
            if value != most:
                odd.append(
                    f"{name} {_short(value)} in repeat {repeat.number}, {_short(most)} elsewhere"
                )
        odd += _servers_apart(repeat)
    if odd:
        message = f"Not the same as in the other cells: {'; '.join(dict.fromkeys(odd))}."
        return verdict(check, "fail", float(len(odd)), 0.0, message)
    if not known:
        return verdict(check, "unknown", None, 0.0, "The server doesn't say what it is.")
    message = f"As in the other cells: {', '.join(sorted(known))}."
    return verdict(check, "pass", 0.0, 0.0, message)


def _servers_apart(repeat: Repeat) -> list[str]:
    """What the several servers of a repeat differ in."""
    each = repeat.result.server.get("each") or [] if repeat.result else []
    found = differing([one.get("before") or {} for one in each])
    return [
        f"{name} of its servers {' and '.join(values)} in repeat {repeat.number}"
        for name, values in found.items()
    ]


def _short(value: Any) -> str:
    return str(value)[:12]
