"""Replies that think before they answer, and those that never do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.unit.synthetic import Load, config, embeddings, facts, rows, to_table, write_repeat
from tests.unit.verdicts import verdicts

from mls.analysis.repeat.goodput import good_requests
from mls.analysis.repeat.summary import summarize
from mls.analysis.tables import aggregate
from mls.commands.printout import first_tokens
from mls.config.cells import cells
from mls.config.sections.checks import Checks, Slo
from mls.core.record import KIND_COLUMNS
from mls.core.run_result import Verdict
from mls.core.summary import Summary

THINKING = Load(places=4, requests=40, tokens=16, thinking=8)
SILENT = {"first_answer_ns": None}


def thinking(silent: int = 0, **columns: Any) -> pa.Table:
    """Records of replies that think for half of their tokens. silent: the first so many say nothing else."""
    records = [row | columns for row in rows(THINKING)]
    return to_table([row | SILENT for row in records[:silent]] + records[silent:])


def summary(records: pa.Table) -> Summary:
    return summarize(records, facts(4))


def test_the_first_answer_is_after_the_thought() -> None:
    figures = summary(thinking())
    assert (figures.ttft_ms.p50, figures.ttfa_ms.p50) == (50.0, 50.0 + 8 * 10.0)
    assert (figures.ttfa_ms.n, figures.unanswered) == (40, 0.0)


def test_without_reasoning_the_first_answer_is_the_first_token() -> None:
    figures = summary(to_table(rows(Load())))
    assert figures.ttfa_ms == figures.ttft_ms and figures.unanswered is None
    assert first_tokens(figures) == ""


def test_replies_without_an_answer_are_left_out_and_counted() -> None:
    records = rows(THINKING)
    records[0] |= SILENT | {"error": "timeout"}
    records[1] |= SILENT
    records[2] |= SILENT | {"reasoning_chunks": 0, "reasoning_tokens": 16}  # Hidden
    records[3] |= SILENT | {"reasoning_chunks": 0}  # No thought either
    figures = summary(to_table(records))
    assert (figures.ttft_ms.n, figures.ttfa_ms.n, figures.unanswered) == (39, 36, 2 / 39)
    assert figures.ttfa_ms.max == pytest.approx(130.0)


@pytest.mark.parametrize(
    "records",
    [
        rows(Load(thinking=4, stream=False)),
        embeddings(),
        [row | dict.fromkeys(KIND_COLUMNS) for row in rows(THINKING)],
    ],
    ids=["in one piece", "embeddings", "of an earlier version"],
)
def test_it_is_unknown(records: list[dict[str, Any]]) -> None:
    figures = summary(to_table(records))
    assert figures.ttfa_ms.n == 0 and not figures.unanswered
    assert first_tokens(figures) == ""


def test_a_run_says_both_where_they_differ() -> None:
    line = first_tokens(summary(thinking()))
    assert line == (
        "first token (ms): mean=50.000 p95=50.000 (n=40); "
        "first answer (ms): mean=130.000 p95=130.000 (n=40)"
    )
    assert first_tokens(summary(thinking(2))).endswith("(n=38); without an answer: 5.0%")
    assert "mean=– p95=– (n=0); without an answer: 100.0%" in first_tokens(summary(thinking(40)))


def test_an_objective_may_be_on_the_first_answer() -> None:
    def good(limit_ms: float, silent: int = 0) -> int:
        slo = Slo.model_validate({"ttfa_ms": {"p95": limit_ms}})
        return int(good_requests(thinking(silent), slo).sum())

    assert (good(129), good(131), good(131, silent=3)) == (0, 40, 37)


def test_both_tables_have_it_beside_ttft(tmp_path: Path) -> None:
    sweep = config(sweep={}, repeats=1, run={"inflight": 4, "iters": 40})
    write_repeat(sweep, tmp_path, cells(sweep)[0], 1, thinking(1))
    aggregate(sweep, tmp_path)
    for name in ("summary.csv", "cells.csv"):
        header, row = (tmp_path / name).read_text().splitlines()[:2]
        figures = dict(zip(header.split(","), row.split(","), strict=True))
        assert float(figures["ttft_ms.p95"]) == 50.0
        assert float(figures["ttfa_ms.p95"]) == float(figures["ttfa_ms.mean"]) == 130.0
        assert float(figures["unanswered"]) == 1 / 40


def judged(silent: int, requests: int = 40, **columns: Any) -> Verdict:
    records = rows(replace(THINKING, requests=requests))
    records = [row | SILENT | columns for row in records[:silent]] + records[silent:]
    return verdicts(to_table(records))["answered"]


def test_only_replies_with_reasoning_are_judged() -> None:
    for records in (
        rows(Load()),
        embeddings(),
        [row | dict.fromkeys(KIND_COLUMNS) for row in rows(THINKING)],
        [row | SILENT | {"reasoning_chunks": 0} for row in rows(Load())],
        [row | {"error": "timeout"} for row in rows(THINKING)],
    ):
        assert "answered" not in verdicts(to_table(records))


@pytest.mark.parametrize(
    ("silent", "requests", "status"),
    [
        (0, 40, "pass"),
        (1, 100, "pass"),
        (2, 100, "warn"),
        (1, 40, "warn"),
        (10, 100, "warn"),
        (11, 100, "fail"),
        (40, 40, "fail"),
    ],
)
def test_replies_that_only_think_are_counted(silent: int, requests: int, status: str) -> None:
    verdict = judged(silent, requests)
    assert (verdict.status, verdict.measured) == (status, silent / requests)


def test_the_message_says_how_many_and_what_to_do() -> None:
    assert judged(0).message == "Every reply that thinks has an answer: 40 of 40 think."
    assert judged(2).message == (
        "2 of 40 replies think and give no answer (5.0%; by chance 0.9% to 14.9%), so TTFA is of the "
        "others alone. Thinking took all of their tokens: raise run.max_tokens (or "
        "workload.output_tokens)."
    )
    assert "raise" not in judged(2, finish_reason="stop").message
    records = rows(THINKING)
    for job, reason in enumerate(("length", "stop")):
        records[job] |= SILENT | {"finish_reason": reason}
    assert "in 1 of them: raise" in verdicts(to_table(records))["answered"].message


def test_the_threshold_is_the_configs() -> None:
    strict = Checks(unanswered_replies=0.0)
    assert verdicts(thinking(1), checks=strict)["answered"].status == "fail"
    assert verdicts(thinking(4), checks=Checks(unanswered_replies=0.1))["answered"].status == "pass"
