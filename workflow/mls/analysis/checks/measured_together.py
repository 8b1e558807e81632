"""Were the cells that are compared measured at the same time? A machine changes from hour to hour."""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from mls.analysis.repeat.evidence import verdict
from mls.analysis.repeats import Repeat
from mls.config.cells import Cell
from mls.config.sections.checks import Checks
from mls.core.run_result import RunResult, Verdict

ALIKE = 0.25
"""Cells are measured together when at most this share of the repeats of one lies in other sittings
than those of the other: so at most this share of what changed in between enters their ratio."""

_CHECK = "measured_together"
_HELP = (
    "so what differs may be the machine: measure all in one go (--forcerun run), or one of the earlier "
    "cells anew beside the later ones (delete its folders below runs)."
)
_MINUTE_S, _HOUR_MIN, _DAY_H = 60, 60, 24


@dataclass(frozen=True, order=True)
class Span:
    """The load of one repeat, in s since 1970 by its host's clock."""

    begin: float
    end: float
    startup_s: float
    """So long may its server have taken to start."""

    @property
    def length(self) -> float:
        return self.end - self.begin


@dataclass
class Sitting:
    """Repeats of any cells, between which there was no long pause."""

    begin: float
    end: float
    pause_s: float = 0.0
    """The longest in it."""


@dataclass(frozen=True)
class When:
    """When a cell was measured."""

    counts: tuple[int, ...]
    """Its repeats in each of the sittings."""
    sittings: tuple[Sitting, ...]
    """Of the whole study, in the order of time."""

    @property
    def share(self) -> tuple[float, ...]:
        return tuple(count / sum(self.counts) for count in self.counts)

    @property
    def pause_s(self) -> float:
        """The longest pause in its sittings."""
        its = zip(self.counts, self.sittings, strict=True)
        return max(sitting.pause_s for count, sitting in its if count)

    def like(self, other: When) -> bool:
        """Whether their repeats are spread over the sittings alike."""
        all_of_both = sum(self.counts) * sum(other.counts)
        return sum(map(abs, self._differences(other))) <= 2 * ALIKE * all_of_both

    def gap_s(self, other: When) -> float:
        """From the first to the last of the sittings of which they have different shares."""
        unlike = [i for i, apart in enumerate(self._differences(other)) if apart]
        return self.sittings[unlike[-1]].begin - self.sittings[unlike[0]].end if unlike else 0.0

    def side_of(self, other: When) -> str | None:
        """`after` or `before`; None where they have a sitting in common, or lie around each other."""
        own, its = ([i for i, n in enumerate(one.counts) if n] for one in (self, other))
        return "after" if own[0] > its[-1] else "before" if own[-1] < its[0] else None

    def _differences(self, other: When) -> list[int]:
        """Of their shares, times all repeats of both, so that they are exact."""
        own, its = sum(self.counts), sum(other.counts)
        return [a * its - b * own for a, b in zip(self.counts, other.counts, strict=True)]


class Timed(Protocol):
    """What must be known of a cell."""

    @property
    def cell(self) -> Cell: ...
    @property
    def ok(self) -> list[Repeat]: ...
    @property
    def when(self) -> When | None: ...


AnyCell = TypeVar("AnyCell", bound=Timed)


def whens(cells: Sequence[Timed], checks: Checks) -> list[When | None]:
    """When each cell was measured; None where no repeat is ok, or where one doesn't say.

    The sittings are those of all cells together, also of other models: what was measured in
    between is no pause.
    """
    spans = [[span(r.result) for r in cell.ok if r.result] for cell in cells]
    sittings = _sittings([one for own in spans for one in own if one], checks.apart_s)
    begins = [sitting.begin for sitting in sittings]
    times: list[When | None] = []
    for own in spans:
        where = [bisect(begins, one.begin) - 1 for one in own if one]
        counts = tuple(where.count(i) for i in range(len(sittings)))
        complete = where and len(where) == len(own)
        times.append(When(counts, tuple(sittings)) if complete else None)
    return times


def span(result: RunResult) -> Span | None:
    """When a repeat's load was; None where that isn't recorded."""
    try:
        started = datetime.fromisoformat(str(result.clock.get("started_utc")))
    except ValueError:
        return None
    begin = (started if started.tzinfo else started.replace(tzinfo=UTC)).timestamp()
    startup = (result.config.get("server") or {}).get("startup_timeout_s") or 0.0
    return Span(begin, begin + result.summary.wall_s, float(startup))


def _sittings(spans: list[Span], apart_s: float) -> list[Sitting]:
    """A pause is long when it is longer than the longer of the repeats beside it by more than
    `apart_s`, or by more than the server may take to start, if that is more.

    So neither long cells, nor a repeat in between that failed, nor a large model end a sitting.
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
    """Cells that were not measured together with most of these, each with the gap in s."""
    usual = _usual([cell.when for cell in cells if cell.when])
    if usual is None:
        return []
    return [(c, c.when.gap_s(usual)) for c in cells if c.when and not c.when.like(usual)]


def measured_together(cells: Sequence[Timed], checks: Checks) -> list[Verdict | None]:
    """For each cell: whether it was measured together with most others of its model.

    None for cells that are compared with no other.
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


def _judge(when: When | None, usual: When | None, alike: int, allowed: float) -> Verdict:
    """usual: when so many as `alike` of the cells were measured; None: not known of any other."""
    if when is None or usual is None:
        whose = "it was" if when is None else "the other cells were"
        message = f"When {whose} measured is not recorded."
        return verdict(_CHECK, "unknown", None, allowed, message)
    if not when.like(usual):
        message = f"{_where(when, usual, _others(alike))}, {_HELP}"
        return verdict(_CHECK, "warn", when.gap_s(usual), allowed, message)
    sittings = sum(map(bool, when.counts))
    how = (
        f"Its repeats are spread over {sittings} sittings as those of"
        if sittings > 1
        else "Measured in one go with"
    )
    message = f"{how} {_others(alike - 1)}, with pauses of at most {duration(when.pause_s)}."
    return verdict(_CHECK, "pass", when.pause_s, allowed, message)


def _usual(times: list[When]) -> When | None:
    """The one to which most are alike; of several the earliest."""
    return max(times, key=lambda w: (sum(w.like(o) for o in times), w.share), default=None)


def _where(when: When, usual: When, others: str) -> str:
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


def duration(seconds: float) -> str:
    """As people say it: `45 s`, `12 min`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    minutes = round(seconds / _MINUTE_S)
    if minutes < _HOUR_MIN:
        return f"{minutes} min"
    if minutes < _DAY_H * _HOUR_MIN:
        large, small = divmod(minutes, _HOUR_MIN)
        return f"{large} h {small} min" if small else f"{large} h"
    large, small = divmod(round(minutes / _HOUR_MIN), _DAY_H)
    return f"{large} d {small} h" if small else f"{large} d"
