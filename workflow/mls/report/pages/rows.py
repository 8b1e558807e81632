"""The table of cells and the list of checks, as the page shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mls.analysis.checks.registry import title
from mls.analysis.intervals import Estimate
from mls.analysis.repeat.evidence import WORSE
from mls.analysis.repeats import Repeat
from mls.analysis.study import CellResult, Study
from mls.report.plots.series import label
from mls.report.text.numbers import interval, milliseconds, milliseconds_interval, number

Hit = tuple[CellResult, int | None, str]
"""Where a check did not pass: cell, repeat (None: the cell as a whole), message."""

MARKS = {"pass": "✓", "unknown": "?", "warn": "!", "fail": "✗"}


@dataclass(frozen=True)
class Figure:
    """A figure of a cell with its interval; both are empty texts where there is none."""

    text: str
    interval: str
    doubt: str = ""
    """Why it can't be taken as known, when there were too few requests for it."""


@dataclass(frozen=True)
class Row:
    cell: list[str]
    """Values of the axes."""
    repeats: str
    verdict: str
    reasons: list[str]
    """Checks with the worst status, as people call them, and repeats without a result."""
    figures: list[Figure]
    message: str
    """Why repeats have no result."""


@dataclass(frozen=True)
class Check:
    """One check that didn't pass, on all repeats that share its status."""

    name: str
    status: str
    where: str
    message: str
    """Of the first of these repeats."""


@dataclass(frozen=True)
class Column:
    title: str
    unit: str
    metric: str


def columns(study: Study) -> list[Column]:
    """Columns of figures; those that no cell has (TTFT of replies that weren't streamed) are left out."""
    rate = study.rate
    second = Column("Requests", "1/s", f"{study.rates}.requests_per_s")
    if second.metric == rate.metric:
        second = Column("Prompt tokens", "1/s", "throughput.prompt_tokens_per_s")
    wanted = [
        Column("Achieved", "inflight", "inflight.achieved_time_weighted"),
        Column("Throughput", rate.unit, rate.metric),
        second,
        Column("Latency p50", "ms", "latency_ms.p50"),
        Column("Latency p95", "ms", "latency_ms.p95"),
        Column("Latency p99", "ms", "latency_ms.p99"),
        Column("TTFT p50", "ms", "ttft_ms.p50"),
        Column("TTFT p95", "ms", "ttft_ms.p95"),
        Column("TPOT p50", "ms", "tpot_ms.p50"),
        Column("ITL p99", "ms", "itl_ms.p99"),
        Column("Client lag p99", "ms", "client.loop_lag_ms.p99"),
    ]
    return [c for c in wanted if any(c.metric in cell.estimates for cell in study.cells)]


def table(study: Study, axes: list[str], shown: list[Column]) -> list[Row]:
    """One row a cell, in the order of the sweep."""
    return [_row(cell, axes, shown) for cell in study.cells]


def checks(study: Study) -> list[Check]:
    """Every check that didn't pass anywhere, the worst first."""
    names = study.varying or ["inflight"]
    found: dict[tuple[str, str], list[Hit]] = {}
    for cell in study.cells:
        on_repeats = [(r.number, v) for r in cell.ok if r.result for v in r.result.verdicts]
        for number_, verdict in [*on_repeats, *((None, v) for v in cell.verdicts)]:
            if verdict.status != "pass":
                key = (verdict.check, verdict.status)
                found.setdefault(key, []).append((cell, number_, verdict.message))
    ordered = sorted(found.items(), key=lambda item: -WORSE.index(item[0][1]))
    return [
        Check(title(check), status, _where(study, hits, names), hits[0][2])
        for (check, status), hits in ordered
    ]


def tally(study: Study) -> dict[str, int]:
    """Repeats by the worst verdict on them or their cell, and those without a result as `no result`."""
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
        which = per_cell.setdefault(label(cell, names), [])
        if number_ is not None:
            which.append(str(number_))
    parts = [
        f"{name} (repeat {', '.join(which)})" if which else name for name, which in per_cell.items()
    ]
    return "; ".join(parts[:6]) + (f"; {len(parts) - 6} more cells" if len(parts) > 6 else "")


def _row(cell: CellResult, axes: list[str], shown: list[Column]) -> Row:
    failed = [repeat for repeat in cell.repeats if repeat.status != "ok"]
    reasons = [title(check) for check in cell.checks(cell.verdict)]
    if failed:
        reasons.append(f"{len(failed)} of {len(cell.repeats)} repeats have no result")
    return Row(
        cell=[str(cell.cell[axis]) for axis in axes],
        repeats=f"{len(cell.ok)}/{len(cell.repeats)}",
        verdict=cell.verdict,
        reasons=reasons if cell.verdict != "pass" else [],
        figures=list(_figures(cell, shown)),
        message=" ".join(dict.fromkeys(f"{_repeats(failed, m)}: {m}" for m in _messages(failed))),
    )


def _messages(failed: list[Repeat]) -> list[str]:
    return list(dict.fromkeys(repeat.message for repeat in failed))


def _repeats(failed: list[Repeat], message: str) -> str:
    numbers = [str(repeat.number) for repeat in failed if repeat.message == message]
    return f"Repeat{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def _figures(cell: CellResult, shown: list[Column]) -> Iterator[Figure]:
    for column in shown:
        estimate = cell.estimates.get(column.metric)
        if estimate is None:
            # without a steady window there still is the rate of the whole run
            whole = cell.estimates.get(column.metric.replace("throughput.", "overall."))
            yield Figure(number(whole.value), "whole run") if whole else Figure("–", "")
        elif column.unit == "ms":
            yield Figure(
                milliseconds(estimate.value), milliseconds_interval(estimate), _doubt(estimate)
            )
        else:
            yield Figure(number(estimate.value), interval(estimate))


def _doubt(estimate: Estimate) -> str:
    return f"too few requests: needs {estimate.needs}" if estimate.needs else ""
