"""Do replies that think come to an answer?"""

from __future__ import annotations

import pyarrow.compute as pc

from mls.analysis.checks.divergence import Count
from mls.analysis.repeat.columns import Bools, succeeded, with_reasoning, without_answer
from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.core.record import FINISHED_BY_LENGTH
from mls.core.run_result import Verdict

CHECK = "answered"

_FAILS = 10
"""Multiple of the threshold above which the check fails."""


def answered(evidence: Evidence) -> Verdict | None:
    """The verdict on replies with reasoning and no answer. None where no reply has reasoning."""
    table, limit = evidence.table, evidence.checks.unanswered_replies
    ok = succeeded(table)
    thoughts = with_reasoning(table) & ok
    if not thoughts.any():
        return None
    silent = without_answer(table) & ok
    count = Count(int(silent.sum()), int(ok.sum()))
    if not count.events:
        message = (
            f"Every reply that thinks has an answer: {int(thoughts.sum())} of {count.trials} think."
        )
        return verdict(CHECK, "pass", 0.0, limit, message)
    status: Status = "pass" if count.share <= limit else "warn"
    if count.share > _FAILS * limit:
        status = "fail"
    message = (
        f"{count.events} of {count.trials} replies think and give no answer ({count.share:.1%}; by chance "
        f"{count.least:.1%} to {count.most:.1%}), so TTFA is of the others alone. {_why(evidence, silent)}"
    )
    return verdict(CHECK, status, count.share, limit, message)


def _why(evidence: Evidence, silent: Bools) -> str:
    """Why these replies give none, and what to do."""
    reasons = evidence.table.column("finish_reason")
    cut: Bools = pc.fill_null(pc.equal(reasons, FINISHED_BY_LENGTH), False).to_numpy()
    by_length, total = int((silent & cut).sum()), int(silent.sum())
    if not by_length:
        return "They end before their limit of tokens, so it was not too low."
    whose = "" if by_length == total else f" in {by_length} of them"
    return f"Thinking took all of their tokens{whose}: raise run.max_tokens (or workload.output_tokens)."
