"""Were cells that are compared measured at one time? A machine changes from hour to hour."""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from mls.analysis.repeat.evidence import verdict
from mls.analysis.repeats import Repeat
from mls.config.axes import Cell
from mls.config.sections.checks import Checks
from mls.core.run_result import RunResult, Verdict
from mls.core.units import duration

ALIKE = 0.25
"""Cells are measured together when at most this share of one's repeats lies in other sittings than
the other's. At most this share of a change between sittings then enters their ratio."""

_CHECK = "measured_together"
_HELP = (
    "so what differs may be the machine: measure all in one go (--forcerun run), or one of the earlier "
    "cells anew beside the later ones (delete its folders below runs)."
)


@dataclass(frozen=True, order=True)
class Span:
    """The time of one repeat's load, in s since 1970 by its host's clock."""

    begin: float
    end: float
    startup_s: float
    """The longest that its server may have taken to start."""

    @property
    def length(self) -> float:
        return self.end - self.begin


@dataclass
class Sitting:
    """A time in which repeats of any cells were measured without a long pause."""

    begin: float
    end: float
    pause_s: float = 0.0
    """The longest pause in it."""


@dataclass(frozen=True)
class When:
    """The sittings in which a cell was measured."""

    counts: tuple[int, ...]
    """The number of its repeats in each sitting."""
    sittings: tuple[Sitting, ...]
    """All sittings of the study, in the order of time."""

    @property
    def share(self) -> tuple[float, ...]:
        """The share of its repeats in each sitting."""
        return tuple(count / sum(self.counts) for count in self.counts)

    @property
    def pause_s(self) -> float:
        """The longest pause in its sittings."""
        its = zip(self.counts, self.sittings, strict=True)
        return max(sitting.pause_s for count, sitting in its if count)

    def like(self, other: When) -> bool:
        """Whether both cells' repeats are spread alike over the sittings, see `ALIKE`."""
        all_of_both = sum(self.counts) * sum(other.counts)
        return sum(map(abs, self._differences(other))) <= 2 * ALIKE * all_of_both

    def gap_s(self, other: When) -> float:
        """Seconds from the first to the last sitting in which the cells' shares differ."""
        unlike = [i for i, difference in enumerate(self._differences(other)) if difference]
        return self.sittings[unlike[-1]].begin - self.sittings[unlike[0]].end if unlike else 0.0

    def side_of(self, other: When) -> str | None:
        """`after` or `before` the other cell; None when neither holds for all sittings."""
        own, its = ([i for i, n in enumerate(one.counts) if n] for one in (self, other))
        return "after" if own[0] > its[-1] else "before" if own[-1] < its[0] else None

    def _differences(self, other: When) -> list[int]:
        """Differences of the shares, times the repeats of both: integers, so they are exact."""
        own, its = sum(self.counts), sum(other.counts)
        return [a * its - b * own for a, b in zip(self.counts, other.counts, strict=True)]


class CellTimes(Protocol):
    """A cell as this check sees it; `study.CellResult` is one."""

    @property
    def cell(self) -> Cell: ...
    @property
    def ok(self) -> list[Repeat]: ...
    @property
    def when(self) -> When | None: ...


AnyCell = TypeVar("AnyCell", bound=CellTimes)


def whens(cells: Sequence[CellTimes], checks: Checks) -> list[When | None]:
    """When each cell was measured. None where no repeat is ok, or one has no recorded time.

    Sittings are those of all cells together, also of other models: time in which another cell was
    measured is no pause.
    """
    spans = [[span(r.result) for r in cell.ok if r.result] for cell in cells]
    sittings = _sittings([one for own in spans for one in own if one], checks.apart_s)
    begins = [sitting.begin for sitting in sittings]
    times: list[When | None] = []
    for own in spans:
        indices = [bisect(begins, one.begin) - 1 for one in own if one]
        counts = tuple(indices.count(i) for i in range(len(sittings)))
        complete = indices and len(indices) == len(own)
        times.append(When(counts, tuple(sittings)) if complete else None)
    return times


def span(result: RunResult) -> Span | None:
    """The time of a repeat's load; None where it isn't recorded."""
    try:
        start = datetime.fromisoformat(str(result.clock.get("started_utc")))
    except ValueError:
        return None
    begin = (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp()
    startup = (result.config.get("server") or {}).get("startup_timeout_s") or 0.0
    return Span(begin, begin + result.summary.wall_s, float(startup))


def _sittings(spans: list[Span], apart_s: float) -> list[Sitting]:
    """The sittings of all repeats, with long pauses between them.

    A pause is long when it exceeds the longer of the two repeats beside it by more than `apart_s`,
    or by more than the server may take to start if that is more. So no sitting ends at a long cell,
    at a repeat that failed, or at a large model.
    """
    sittings: list[Sitting] = []
    last: Span | None = None
    for one in sorted(spans):
        if last is None:
            sittings, last = [Sitting(one.begin, one.end)], one
            continue
        pause = one.begin - last.end
        if pause > max(apart_s, one.startup_s) + max(last.length, one.length):
            sittings.append(Sitting(one.begin, one.end))
        else:
            now = sittings[-1]
            now.end, now.pause_s = max(now.end, one.end), max(now.pause_s, pause)
        last = max(last, one, key=lambda each: each.end)
    return sittings


def apart(cells: Sequence[AnyCell]) -> list[tuple[AnyCell, float]]:
    """The cells that were not measured together with most of these, each with the gap in s."""
    usual = _usual([cell.when for cell in cells if cell.when])
    if usual is None:
        return []
    return [(c, c.when.gap_s(usual)) for c in cells if c.when and not c.when.like(usual)]


def measured_together(cells: Sequence[CellTimes], checks: Checks) -> list[Verdict | None]:
    """For each cell: whether it was measured together with most others of its model.

    None for a cell without a result, and for one that is the only cell of its model.
    """
    verdicts: list[Verdict | None] = [None] * len(cells)
    models: defaultdict[str, list[int]] = defaultdict(list)
    for i, cell in enumerate(cells):
        if cell.ok:
            models[str(cell.cell["model"])].append(i)
    for group in models.values():
        times = [when for i in group if (when := cells[i].when)]
        usual = _usual(times) if len(times) > 1 else None
        alike = sum(when.like(usual) for when in times) if usual else 0
        for i in group if len(group) > 1 else ():
            verdicts[i] = _judge(cells[i].when, usual, alike, checks.apart_s)
    return verdicts


def _judge(when: When | None, usual: When | None, alike: int, threshold: float) -> Verdict:
    """usual: when `alike` of the cells were measured; None when that is unknown of the others."""
    if when is None or usual is None:
        whose = "it was" if when is None else "the other cells were"
        message = f"When {whose} measured is not recorded."
        return verdict(_CHECK, "unknown", None, threshold, message)
    if not when.like(usual):
        message = f"{_distance(when, usual, _others(alike))}, {_HELP}"
        return verdict(_CHECK, "warn", when.gap_s(usual), threshold, message)
    sittings = sum(map(bool, when.counts))
    how = (
        f"Its repeats are spread over {sittings} sittings as those of"
        if sittings > 1
        else "Measured in one go with"
    )
    message = f"{how} {_others(alike - 1)}, with pauses of at most {duration(when.pause_s)}."
    return verdict(_CHECK, "pass", when.pause_s, threshold, message)


def _usual(times: list[When]) -> When | None:
    """The time that most others are like; of several, the earliest."""
    return max(times, key=lambda w: (sum(w.like(o) for o in times), w.share), default=None)


def _distance(when: When, usual: When, others: str) -> str:
    gap, side = duration(when.gap_s(usual)), when.side_of(usual)
    if side:
        return f"Measured {gap} {side} {others}"
    own, its = (" + ".join(map(str, one.counts)) for one in (when, usual))
    return (
        f"Its repeats are spread otherwise over sittings that lie {gap} apart than those of {others} "
        f"({own} against {its})"
    )


def _others(count: int) -> str:
    return f"{count} other cell{'' if count == 1 else 's'}"
