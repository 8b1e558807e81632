"""The rows of the page's tables of cells and of checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mls.analysis.canaries.replies import DIFFERENT
from mls.analysis.cell.result import CellResult
from mls.analysis.checks.registry import title
from mls.analysis.efficiency.cost import metric
from mls.analysis.intervals import Estimate
from mls.analysis.repeat.evidence import WORSE
from mls.analysis.repeats import Repeat
from mls.analysis.study import Study
from mls.report.plots.series import label_or_load
from mls.report.text.chunks import merged
from mls.report.text.numbers import interval, milliseconds, milliseconds_interval, number

Hit = tuple[CellResult, int | None, str]
"""A check that did not pass: (cell, repeat or None for the cell as a whole, message)."""

COSTS = {"completion_tokens": "out", "prompt_tokens": "in", "tokens": "in + out"}
"""Kind of tokens in `analysis.efficiency.cost` → its name in headings."""

MARKS = {"pass": "✓", "unknown": "?", "warn": "!", "fail": "✗"}


@dataclass(frozen=True)
class Figure:
    """A figure of a cell and its interval as texts; the interval is empty where there is none."""

    text: str
    interval: str
    value: float | None = None
    doubt: str = ""
    """Why the figure is uncertain, when there were too few requests for it."""


@dataclass(frozen=True)
class Row:
    cell: list[str]
    """Values of the axes."""
    repeats: str
    verdict: str
    reasons: list[str]
    """Titles of the checks with the worst status, and the number of repeats without a result."""
    figures: list[Figure]
    message: str
    """Why repeats have no result."""


@dataclass(frozen=True)
class Check:
    """One check that didn't pass, with all repeats on which it has this status."""

    name: str
    status: str
    where: str
    message: str
    """Message of the first of these repeats."""


@dataclass(frozen=True)
class Column:
    title: str
    unit: str
    metric: str


_FIRST_ANSWER = (
    Column("TTFA p50", "ms", "ttfa_ms.p50"),
    Column("TTFA p95", "ms", "ttfa_ms.p95"),
)
CACHED = (
    Column("Cached", "share of prompt tokens", "cache.share"),
    Column("Ideally cached", "share of prompt tokens", "cache.ideal_share"),
)
_UNANSWERED = Column("Unanswered", "share of replies", "unanswered")


def columns(study: Study) -> list[Column]:
    """The columns of figures that any cell has: replies that aren't streamed have no TTFT."""
    rate = study.rate
    second = Column("Requests", "1/s", f"{study.rates}.requests_per_s")
    if second.metric == rate.metric:
        second = Column("Prompt tokens", "1/s", "throughput.prompt_tokens_per_s")
    candidates = [
        Column("Achieved", "inflight", "inflight.achieved_time_weighted"),
        Column("Throughput", rate.unit, rate.metric),
        second,
        Column("Latency p50", "ms", "latency_ms.p50"),
        Column("Latency p95", "ms", "latency_ms.p95"),
        Column("Latency p99", "ms", "latency_ms.p99"),
        Column("TTFT p50", "ms", "ttft_ms.p50"),
        Column("TTFT p95", "ms", "ttft_ms.p95"),
        *(_FIRST_ANSWER if study.thinks else ()),
        *([_UNANSWERED] if _occurs("unanswered", study) else []),
        Column("Tool calls p50", "ms", "tool_call_ms.p50"),
        Column("Tool calls p95", "ms", "tool_call_ms.p95"),
        *(column for column in CACHED if _occurs(column.metric, study)),
        Column("TPOT p50", "ms", "tpot_ms.p50"),
        Column("Reasoning TPOT p50", "ms", "reasoning_tpot_ms.p50"),
        Column("Answer TPOT p50", "ms", "answer_tpot_ms.p50"),
        *([Column("Tokens a chunk", "mean", "tokens_per_chunk")] if merged(study.cells) else []),
        Column("ITL p99", "ms", "itl_ms.p99"),
        Column("Slot free", "ms after a hang-up", "hang_ups.in_reply.freed_ms"),
        Column("Generated on", "share of replies' rests", "hang_ups.generated_share"),
        Column("Goodput", "good requests/s", f"{study.rates}.good_requests_per_s"),
        *(
            Column(f"Cost {name}", "$ per 1M tokens", metric(study.rates, kind))
            for kind, name in COSTS.items()
        ),
        *(
            [Column("Canaries", "share that differs", DIFFERENT)]
            if _occurs(DIFFERENT, study)
            else []
        ),
        Column("Client lag p99", "ms", "client.loop_lag_ms.p99"),
    ]
    return [c for c in candidates if any(c.metric in cell.estimates for cell in study.cells)]


def _occurs(share: str, study: Study) -> bool:
    """Whether the share, which is 0 in most studies, is more in any cell."""
    shares = [cell.estimates.get(share) for cell in study.cells]
    return any(each and each.value > 0 for each in shares)


def table(study: Study, axes: list[str], columns: list[Column]) -> list[Row]:
    """One row for each cell, in the order of the sweep."""
    return [_row(cell, axes, columns) for cell in study.cells]


def checks(study: Study) -> list[Check]:
    """Every check that didn't pass on some repeat or cell, the worst status first."""
    names = study.naming
    hits_by_check: dict[tuple[str, str], list[Hit]] = {}
    for cell in study.cells:
        on_repeats = [(r.number, v) for r in cell.ok if r.result for v in r.result.verdicts]
        for number_, verdict in [*on_repeats, *((None, v) for v in cell.verdicts)]:
            if verdict.status != "pass":
                key = (verdict.check, verdict.status)
                hits_by_check.setdefault(key, []).append((cell, number_, verdict.message))
    groups = sorted(hits_by_check.items(), key=lambda item: -WORSE.index(item[0][1]))
    return [
        Check(title(check), status, _where(study, hits, names), hits[0][2])
        for (check, status), hits in groups
    ]


def tally(study: Study) -> dict[str, int]:
    """Number of repeats by the worst verdict on them or their cell, or by `no result`."""
    counts = dict.fromkeys((*WORSE, "no result"), 0)
    for cell in study.cells:
        for repeat in cell.repeats:
            verdicts = [*repeat.result.verdicts, *cell.verdicts] if repeat.result else []
            statuses = [v.status for v in verdicts]
            counts[max(statuses, key=WORSE.index) if statuses else "no result"] += 1
    return {status: count for status, count in counts.items() if count}


def _where(study: Study, hits: list[Hit], names: list[str]) -> str:
    total = sum(len(cell.ok) for cell in study.cells)
    if all(number_ is not None for _, number_, _ in hits) and len(hits) == total:
        return f"all {total} repeats" if total > 1 else "the only repeat"
    per_cell: dict[str, list[str]] = {}
    for cell, number_, _ in hits:
        which = per_cell.setdefault(label_or_load(cell, names), [])
        if number_ is not None:
            which.append(str(number_))
    parts = [
        f"{name} (repeat {', '.join(which)})" if which else name for name, which in per_cell.items()
    ]
    return "; ".join(parts[:6]) + (f"; {len(parts) - 6} more cells" if len(parts) > 6 else "")


def _row(cell: CellResult, axes: list[str], columns: list[Column]) -> Row:
    failures = [repeat for repeat in cell.repeats if repeat.status != "ok"]
    reasons = [title(check) for check in cell.checks(cell.verdict)]
    if failures:
        reasons.append(f"{len(failures)} of {len(cell.repeats)} repeats have no result")
    return Row(
        cell=[str(cell.cell[axis]) for axis in axes],
        repeats=f"{len(cell.ok)}/{len(cell.repeats)}",
        verdict=cell.verdict,
        reasons=reasons if cell.verdict != "pass" else [],
        figures=list(_figures(cell, columns)),
        message=" ".join(
            dict.fromkeys(f"{_repeats(failures, m)}: {m}" for m in _messages(failures))
        ),
    )


def _messages(failures: list[Repeat]) -> list[str]:
    return list(dict.fromkeys(repeat.message for repeat in failures))


def _repeats(failures: list[Repeat], message: str) -> str:
    numbers = [str(repeat.number) for repeat in failures if repeat.message == message]
    return f"Repeat{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def _figures(cell: CellResult, columns: list[Column]) -> Iterator[Figure]:
    for column in columns:
        estimate = cell.estimates.get(column.metric)
        if estimate is None:
            # Without a steady window there is the rate of the whole run
            whole = cell.estimates.get(column.metric.replace("throughput.", "overall."))
            yield (
                Figure(number(whole.value), "whole run", whole.value) if whole else Figure("–", "")
            )
        elif column.unit == "ms":
            yield Figure(
                milliseconds(estimate.value),
                milliseconds_interval(estimate),
                estimate.value,
                _doubt(estimate),
            )
        else:
            yield Figure(number(estimate.value), interval(estimate), estimate.value)


def _doubt(estimate: Estimate) -> str:
    return f"too few requests: needs {estimate.needs}" if estimate.needs else ""
