"""Speculative decoding: whether there was any, and whether client and server count it alike."""

from __future__ import annotations

from mls.analysis.repeat.evidence import Evidence, verdict
from mls.config.sections.server import NO_SPECULATION
from mls.core.run_result import Verdict


def drafts_as_asked(evidence: Evidence) -> Verdict | None:
    """A server that is started to speculate must draft. None where it isn't, or doesn't say.

    Without drafts the cell is one of no speculation, under another name. By what a text has had
    already there may rightly be none.
    """
    kind, summary = evidence.speculation, evidence.summary
    if kind == NO_SPECULATION:
        return None
    drafted = summary.speculation.draft_tokens
    if drafted is None:
        drafted = summary.server.speculation.draft_tokens
    if drafted is None:
        message = "The server doesn't say whether it drafted anything."
        return verdict("drafts_as_asked", "unknown", None, None, message)
    if drafted:
        message = f"With speculation {kind} the server drafted {drafted} tokens."
        return verdict("drafts_as_asked", "pass", float(drafted), 1.0, message)
    message = (
        f"With speculation {kind} nothing was drafted: what was measured is the server without it."
    )
    if kind == "draft":
        return verdict("drafts_as_asked", "fail", 0.0, 1.0, message)
    message += (
        " Perhaps these texts don't repeat themselves (workload), or too few of their tokens."
    )
    return verdict("drafts_as_asked", "warn", 0.0, 1.0, message)


def drafts_agree(evidence: Evidence) -> Verdict | None:
    """The drafts of the replies must be the growth of the server's counters.

    None where replies or server name no drafts.
    """
    ours, theirs = evidence.summary.speculation, evidence.summary.server.speculation
    if ours.draft_tokens is None or theirs.draft_tokens is None:
        return None
    requests, tokens = evidence.summary.requests, evidence.summary.tokens
    server = evidence.server_figures
    if requests.error or requests.retries or requests.cancelled:
        message = (
            "Requests failed, were cancelled or tried again, so the server may have counted drafts that no reply "
            "tells of."
        )
        return verdict("drafts_agree", "unknown", None, None, message)
    growth = server.growth(server.profile.completion_tokens)
    if growth != tokens.completion:
        message = "The books of tokens differ already, so those of drafts can't be compared."
        return verdict("drafts_agree", "unknown", None, None, message)
    sums = f"{ours.draft_tokens} drafted and {ours.accepted_tokens} accepted tokens"
    counters = f"{theirs.draft_tokens} and {theirs.accepted_tokens}"
    measured, expected = float(ours.draft_tokens), float(theirs.draft_tokens)
    if ours == theirs:
        message = f"The replies tell of {sums}; the server's counters grew by just these."
        return verdict("drafts_agree", "pass", measured, expected, message)
    message = (
        f"The replies tell of {sums}, the server's counters of {counters}: one of them is wrong."
    )
    return verdict("drafts_agree", "fail", measured, expected, message)
