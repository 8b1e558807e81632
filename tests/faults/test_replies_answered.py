"""Servers that think: when their answers come, by their marks or tags, and whether they come."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from tests.faults.driving import TRANSPORTS, harvest, spec
from tests.servers.honest import Turns
from tests.servers.speaking import Asking, Said, Speaking, Speech
from tests.unit.synthetic import facts
from tests.unit.verdicts import verdicts

from mls.analysis.repeat.summary import summarize
from mls.config.sections.replies import Replies, ThinkTags
from mls.config.sections.run import Run
from mls.core.run_result import Verdict
from mls.protocol.request import Target

REQUESTS = 12
RUN: dict[str, Any] = {
    "inflight": 4,
    "ranks": 1,
    "iters": REQUESTS,
    "warmup": 0,
    "ignore_eos": False,
}
CALL = [
    {"tool_calls": [{"index": 0, "function": {"name": "time", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"zone":'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]},
]
ANSWER = [{"content": word} for word in ("\n\n", "Yes", ",", " it", " is", ".")]
REASONING = [{"reasoning_content": word} for word in ("Let", " me", " see", ".")]
TAGS = [{"content": word} for word in ("<thi", "nk>Let", " me see", ".</", "think>")]


def measure(speech: Speech, tags: ThinkTags = "none", **run: Any) -> pa.Table:
    """The records of a run against a server that speaks so."""
    settings = Run(**RUN | run)
    with Speaking(speech, Turns(settings.inflight, REQUESTS)) as server:
        return harvest(spec([Target(server.url)], settings, replies=Replies(think_tags=tags))).table


def verdict_on(table: pa.Table) -> Verdict | None:
    return verdicts(table, None, None, Run(**RUN)).get("answered")


def says(*deltas: dict[str, Any], reason: str = "stop") -> Speech:
    return lambda _: Said(deltas=[*deltas], reason=reason)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("thought", "tags"),
    [
        (REASONING, "none"),
        ([{"reasoning": delta["reasoning_content"]} for delta in REASONING], "none"),
        ([delta | {"reasoning": delta["reasoning_content"]} for delta in REASONING], "none"),
        (TAGS, "both"),
        (TAGS[1:], "closing"),
    ],
    ids=["reasoning_content", "reasoning", "both names", "tags", "closing tag"],
)
def test_the_answer_comes_after_the_thought(
    thought: list[dict[str, Any]], tags: ThinkTags, transport: str
) -> None:
    table = measure(says(*thought, *ANSWER), tags, transport=transport)
    for row in table.to_pylist():
        assert row["reasoning_chunks"] == len(thought)
        assert row["first_answer_ns"] == row["chunk_ns"][len(thought) + 1]  # After the blanks
        assert row["first_chunk_ns"] == row["chunk_ns"][0] <= row["first_answer_ns"]
    figures = summarize(table, facts(4))
    assert figures.ttfa_ms.mean and figures.ttft_ms.mean
    assert figures.ttfa_ms.mean >= figures.ttft_ms.mean  # One read may bring both
    assert (figures.ttfa_ms.n, figures.unanswered) == (REQUESTS, 0)
    verdict = verdict_on(table)
    assert verdict and verdict.status == "pass"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("pieces", [3, 2], ids=["whole", "cut"])
def test_a_tool_call_is_there_when_its_arguments_are_whole(pieces: int, transport: str) -> None:
    table = measure(says(*REASONING, *CALL[:pieces], *ANSWER[1:]), transport=transport)
    for row in table.to_pylist():
        assert row["tool_call_ns"] == (row["chunk_ns"][len(REASONING) + 2] if pieces == 3 else None)
        assert row["last_reasoning_ns"] == row["chunk_ns"][len(REASONING) - 1]
    assert summarize(table, facts(4)).tool_call_ms.n == (REQUESTS if pieces == 3 else 0)


@pytest.mark.parametrize(("thought", "tags"), [(REASONING, "none"), (TAGS[:3], "both")])
def test_thoughts_to_the_limit_of_tokens_are_no_answers(
    thought: list[dict[str, Any]], tags: ThinkTags
) -> None:
    table = measure(says(*thought, reason="length"), tags)
    verdict = verdict_on(table)
    assert verdict and (verdict.status, verdict.measured) == ("fail", 1.0)
    assert "raise run.max_tokens" in verdict.message
    assert summarize(table, facts(4)).ttfa_ms.n == 0


def test_a_few_of_them_are_a_warning() -> None:
    asked: list[str] = []

    def speech(asking: Asking) -> Said:
        asked.append(asking.prompt)
        few = len(asked) == 5
        return Said(deltas=REASONING if few else [*REASONING, *ANSWER], reason="length")

    verdict = verdict_on(measure(speech))
    assert verdict and (verdict.status, verdict.measured) == ("warn", 1 / REQUESTS)


def test_a_server_that_does_not_think_is_not_judged() -> None:
    table = measure(says(*TAGS, *ANSWER))
    assert verdict_on(table) is None
    assert table.column("first_answer_ns") == table.column("first_chunk_ns")
