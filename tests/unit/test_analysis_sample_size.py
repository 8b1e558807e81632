"""Advice on how long to measure, in the units that the config counts."""

import pytest
from tests.unit.synthetic import Load, facts, rows, to_table

from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import summarize
from mls.analysis.sample_size import longer
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload

FILE = {"kind": "conversation", "file": "talks.jsonl"}
TURNS = [1, 4, 1, 6]
"""Requests of each conversation: 3 on average."""


def evidence(workload):
    sessions = [session for session, turns in enumerate(TURNS) for _ in range(turns)]
    records = [
        row | {"session": session if workload.converses else None}
        for row, session in zip(rows(Load(requests=len(sessions))), sessions, strict=True)
    ]
    table, run = to_table(records), Run(inflight=4, iters=12)
    return Evidence(summarize(table, facts(4)), table, run, Checks(), workload=workload)


@pytest.mark.parametrize(
    ("keys", "rounds"),
    [({}, 30), (FILE, 10), ({"kind": "conversation", "turns": 2}, 15)],
    ids=["requests", "file", "turns"],
)
def test_rounds_count_conversations_where_there_are_any(keys, rounds):
    """A file's conversations once counted as one request each."""
    advice = longer(120, evidence(Workload(**keys)))
    assert advice == f"measure about {rounds} rounds (run.rounds, or a longer run.duration_s)"


def test_without_a_record_of_a_conversation_each_request_counts():
    one = evidence(Workload())
    known = Evidence(one.summary, one.table, one.run, one.checks, workload=Workload(**FILE))
    assert "about 30 rounds" in longer(120, known)
