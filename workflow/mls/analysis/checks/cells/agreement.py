"""Checks of whole cells: enough requests, agreement of repeats, sameness of server and host."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import special

from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.evidence import excess, verdict
from mls.analysis.repeats import Repeat
from mls.analysis.sample_size import MISS, least_samples
from mls.config.axes import Cell
from mls.config.sections.checks import Checks
from mls.core.run_result import RunResult, Verdict
from mls.server.several import differing

ALPHA = 0.01
MEDIAN = 50
TINY = 1e-18
"""Variances of logarithms up to this are rounding errors of 0."""


class CellFigures(Protocol):
    """A cell as these checks see it; `study.CellResult` is one."""

    @property
    def cell(self) -> Cell: ...
    @property
    def ok(self) -> list[Repeat]: ...
    def values(self, metric: str) -> list[float]: ...


def enough_requests(count: int, checks: Checks) -> Verdict:
    """Whether `count` successful requests of all repeats support `checks.percentile`."""
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
    """Whether mean latencies of repeats differ by more than latencies within a repeat explain.

    numbers: the number of each repeat. latencies: its samples in ms. batches: the mean latencies of
    the batches of its window, in any unit.

    The method is a one-way analysis of variance on logarithms. The verdict is a warning when the
    means spread by more than `checks.repeat_spread` and by more than the batches explain. It is a
    failure when they spread by more than twice that threshold. Both name the repeat that is
    farthest from the others. The verdict is a pass when a spread of twice the threshold would have
    shown.
    """
    threshold = checks.repeat_spread
    repeats = [(n, x, b) for n, x, b in zip(numbers, latencies, batches, strict=True) if len(x)]
    if len(repeats) < 2:
        message = "With a single repeat nothing tells how much repeats differ."
        return verdict("repeats_agree", "unknown", None, threshold, message)
    means = np.array([x.mean() for _, x, _ in repeats])
    spread = float(means.std(ddof=1) / means.mean())
    summary = f"The mean latencies of {len(repeats)} repeats spread by {spread:.1%}"
    batch_spread = BatchSpread.of([b for _, _, b in repeats])
    chance = batch_spread.chance(means) if batch_spread else 1.0
    if spread > threshold and chance < ALPHA:
        who = _odd_one([n for n, _, _ in repeats], means)
        message = f"{summary}, far more than requests within a repeat do: {who}."
        return verdict("repeats_agree", excess(spread, threshold), spread, threshold, message)
    if (
        batch_spread is None
        or spread > threshold
        or not batch_spread.excludes(means, 2 * threshold)
    ):
        message = (
            f"{summary}; requests within a repeat vary so much, or are so few, that a spread of "
            f"{2 * threshold:.0%} can't be told from chance: measure longer (run.rounds, run.iters or "
            "run.duration_s)."
        )
        return verdict("repeats_agree", "unknown", spread, threshold, message)
    message = f"{summary}; {2 * threshold:.0%} would have shown."
    return verdict("repeats_agree", "pass", spread, threshold, message)


@dataclass(frozen=True)
class BatchSpread:
    """The variation of batches within a repeat, on logarithms, pooled over all repeats."""

    variance: float
    freedom: int
    batches: float
    """Mean number of batches of a repeat."""

    @classmethod
    def of(cls, batches: list[Floats]) -> BatchSpread | None:
        """None when there is a repeat with fewer than two batches."""
        if min(map(len, batches)) < 2:
            return None
        freedom = sum(len(own) - 1 for own in batches)
        squares = sum(float(np.log(own).var(ddof=1)) * (len(own) - 1) for own in batches)
        return cls(squares / freedom, freedom, float(np.mean([len(own) for own in batches])))

    def ratio(self, means: Floats) -> float:
        """Fisher's F: the variance between the repeats over the one that batches explain."""
        between = self.batches * float(np.log(means).var(ddof=1))
        if self.variance > TINY:
            return between / self.variance
        return math.inf if between > TINY else 0.0

    def chance(self, means: Floats) -> float:
        """Probability of such a spread if the repeats were alike."""
        return float(special.fdtrc(len(means) - 1, self.freedom, self.ratio(means)))

    def excludes(self, means: Floats, spread: float) -> bool:
        """Whether repeats with this true spread would have spread more, but for chance `MISS`."""
        if self.variance <= TINY:
            return float(np.log(means).std(ddof=1)) < spread
        freedom = len(means) - 1
        noncentrality = self.batches * freedom * spread**2 / self.variance
        miss = math.nan
        while math.isnan(miss):
            # scipy may give nan where the chance is next to nothing; less noncentrality raises it
            miss = float(special.ncfdtr(freedom, self.freedom, noncentrality, self.ratio(means)))
            noncentrality /= 2
        return miss < MISS


def _odd_one(numbers: list[int], means: Floats) -> str:
    """The repeat that is farthest from the others, in words."""
    if len(means) == 2:
        return f"{means[0]:.4g} ms and {means[1]:.4g} ms"
    away = [abs(means[i] - np.delete(means, i).mean()) for i in range(len(means))]
    odd = int(np.argmax(away))
    others = float(np.delete(means, odd).mean())
    return (
        f"repeat {numbers[odd]} is farthest from the others, with {means[odd]:.4g} ms against "
        f"{others:.4g} ms"
    )


def same_thing_measured(cells: Sequence[CellFigures]) -> list[Verdict]:
    """For each cell: whether its server and environment are those of the other cells.

    The reference is what most repeats have, so the odd cells fail. A fact that an axis determines
    (slots with an axis `parallel`, the model's file with `model`) is compared only among cells with
    the same value of that axis.
    """
    usual = _usual([r.result for c in cells for r in c.ok if r.result])
    return [_same_thing(cell, usual) for cell in cells]


Identity = dict[str, tuple[tuple[Any, ...], Any]]
"""Facts of the server and its environment: name → (the group to compare within, the value)."""


def identity(result: RunResult) -> Identity:
    """Facts that must be alike in all cells: server build, slots, context, model, environment, text."""
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
        "text of prompts": ((), (result.workload.get("corpus") or {}).get("sha256")),
    }


def _usual(results: list[RunResult]) -> dict[tuple[str, Any], Any]:
    """(name, group to compare within) → the value that most repeats have."""
    counts: dict[tuple[str, Any], Counter[Any]] = {}
    for result in results:
        for name, (within, value) in identity(result).items():
            if value is not None:
                counts.setdefault((name, within), Counter())[value] += 1
    return {key: counter.most_common(1)[0][0] for key, counter in counts.items()}


def _same_thing(cell: CellFigures, usual: dict[tuple[str, Any], Any]) -> Verdict:
    check, differences, names = "same_thing_measured", [], set()
    for repeat in cell.ok:
        for name, (within, value) in identity(repeat.result).items() if repeat.result else ():
            if value is None:
                continue
            names.add(name)
            usual_value = usual[name, within]
            if value != usual_value:
                differences.append(
                    f"{name} {_short(value)} in repeat {repeat.number}, {_short(usual_value)} elsewhere"
                )
        differences += _servers_apart(repeat)
    if differences:
        message = f"Not the same as in the other cells: {'; '.join(dict.fromkeys(differences))}."
        return verdict(check, "fail", float(len(differences)), 0.0, message)
    if not names:
        return verdict(check, "unknown", None, 0.0, "The server doesn't say what it is.")
    message = f"As in the other cells: {', '.join(sorted(names))}."
    return verdict(check, "pass", 0.0, 0.0, message)


def _servers_apart(repeat: Repeat) -> list[str]:
    """The differences between the servers of a repeat, in words."""
    each = repeat.result.server.get("each") or [] if repeat.result else []
    differences = differing([one.get("before") or {} for one in each])
    return [
        f"{name} of its servers {' and '.join(values)} in repeat {repeat.number}"
        for name, values in differences.items()
    ]


def _short(value: Any) -> str:
    return str(value)[:12]
