"""Figures and checks of speculative decoding in one repeat."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.synthetic import Load, facts, rows, to_table

from mls.analysis.checks.registry import judge
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.speculation import by_category
from mls.analysis.repeat.summary import summarize
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.core.run_result import Verdict
from mls.core.summary import Speculation, Summary

LOAD = Load()
TOKENS = LOAD.requests * LOAD.tokens
BEFORE = {
    "llamacpp:prompt_tokens_total": 1.0,
    "llamacpp:tokens_predicted_total": 1.0,
    "llamacpp:spec_decode_num_draft_tokens_total": 100.0,
    "llamacpp:spec_decode_num_accepted_tokens_total": 50.0,
}


def speculated(silent: int = 0) -> list[dict[str, Any]]:
    """Records in which each but the first few replies had 10 tokens drafted and 6 of them accepted."""
    records = rows(LOAD)
    for record in records[silent:]:
        record |= {"draft_tokens": 10, "draft_tokens_accepted": 6}
    return records


def after(drafted: int, accepted: int, tokens: int = TOKENS) -> dict[str, float]:
    growth = {
        "llamacpp:prompt_tokens_total": LOAD.requests * LOAD.prompt,
        "llamacpp:tokens_predicted_total": tokens,
        "llamacpp:spec_decode_num_draft_tokens_total": drafted,
        "llamacpp:spec_decode_num_accepted_tokens_total": accepted,
    }
    return {name: BEFORE[name] + grown for name, grown in growth.items()}


def judged(
    records: list[dict[str, Any]], metrics: dict[str, float] | None, kind: str = "ngram-mod"
) -> tuple[Summary, dict[str, Verdict]]:
    table = to_table(records)
    before = BEFORE if metrics else None
    summary = summarize(table, facts(4, metrics_before=before, metrics_after=metrics))
    evidence = Evidence(
        summary, table, Run(inflight=4), Checks(), before, metrics, speculation=kind
    )
    return summary, {verdict.check: verdict for verdict in judge(evidence)}


def test_acceptance_and_tokens_a_step_by_requests_and_by_counters() -> None:
    summary, verdicts = judged(speculated(), after(400, 240))
    expected = Speculation(
        draft_tokens=400,
        accepted_tokens=240,
        acceptance=0.6,
        tokens_per_step=TOKENS / (TOKENS - 240),
    )
    assert summary.speculation == expected
    assert summary.server.speculation == expected
    assert verdicts["drafts_agree"].status == "pass"
    assert verdicts["drafts_as_asked"].status == "pass"


def test_a_reply_that_names_no_drafts_beside_others_had_none() -> None:
    summary, verdicts = judged(speculated(silent=10), after(300, 180))
    assert summary.speculation.draft_tokens == 300
    assert summary.speculation.tokens_per_step == TOKENS / (TOKENS - 180)
    assert verdicts["drafts_agree"].status == "pass"


def test_a_category_without_drafts_has_none_beside_one_that_has_some() -> None:
    records = speculated(silent=10)
    for number, record in enumerate(records):
        record["category"] = "chat" if number < 10 else "copy"
    chat, copy = by_category([to_table(records)]).values()
    assert (chat.draft_tokens, chat.acceptance, chat.tokens_per_step) == (0, None, 1.0)
    assert (copy.draft_tokens, copy.acceptance) == (10 * (len(records) - 10), 0.6)
    for record in records[:10]:
        record["error"] = "timeout"
    assert [*by_category([to_table(records)])] == ["copy"]
    assert by_category([to_table(rows(LOAD))]) == {}


def test_drafts_that_nobody_names_are_unknown() -> None:
    summary, verdicts = judged(rows(LOAD), None)
    assert summary.speculation == summary.server.speculation == Speculation()
    assert verdicts["drafts_as_asked"].status == "unknown"
    assert "drafts_agree" not in verdicts


def test_a_reply_without_timings_leaves_the_sum_unknown() -> None:
    records = speculated(silent=1)
    records[0]["server_predicted_ms"] = None
    assert judged(records, None)[0].speculation == Speculation()


def test_a_server_without_speculation_is_not_judged_by_its_drafts() -> None:
    summary, verdicts = judged(rows(LOAD), after(0, 0), kind="off")
    assert summary.server.speculation == Speculation(
        draft_tokens=0, accepted_tokens=0, tokens_per_step=1.0
    )
    assert not {"drafts_as_asked", "drafts_agree"} & verdicts.keys()


@pytest.mark.parametrize(("kind", "status"), [("draft", "fail"), ("ngram-mod", "warn")])
def test_speculation_that_drafted_nothing(kind: str, status: str) -> None:
    _, verdicts = judged(rows(LOAD), after(0, 0), kind=kind)
    assert verdicts["drafts_as_asked"].status == status
    assert "nothing was drafted" in verdicts["drafts_as_asked"].message


@pytest.mark.parametrize(("drafted", "accepted"), [(401, 240), (400, 239)])
def test_books_of_drafts_that_differ_by_one(drafted: int, accepted: int) -> None:
    _, verdicts = judged(speculated(), after(drafted, accepted))
    assert verdicts["drafts_agree"].status == "fail"
    assert f"{drafted} and {accepted}" in verdicts["drafts_agree"].message


def test_somebody_elses_drafts_are_not_held_against_ours() -> None:
    _, verdicts = judged(speculated(), after(500, 300, tokens=TOKENS + 100))
    assert verdicts["drafts_agree"].status == "unknown"


def test_failed_requests_leave_the_books_of_drafts_open() -> None:
    records = speculated()
    records[3] |= {"error": "timeout", "draft_tokens": None, "draft_tokens_accepted": None}
    _, verdicts = judged(records, after(400, 240))
    assert verdicts["drafts_agree"].status == "unknown"
