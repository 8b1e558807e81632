"""Double entry: the client's counts and times against the server's own."""

from __future__ import annotations

import numpy as np

from mls.analysis.repeat.columns import floats, ints, succeeded
from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.core.run_result import Verdict
from mls.core.units import NS_PER_MS

PREDICTED = "llamacpp:tokens_predicted_total"
PROMPT = "llamacpp:prompt_tokens_total"


def books_agree(evidence: Evidence) -> Verdict:
    """Double entry: tokens by the replies' `usage` against the growth of the server's counters."""

    def unknown(why: str) -> Verdict:
        return verdict("books_agree", "unknown", None, None, why)

    before, after = evidence.metrics_before or {}, evidence.metrics_after or {}
    counter = PROMPT if evidence.run.embeds else PREDICTED
    if counter not in before or counter not in after:
        return unknown("The server has no /metrics counters to compare the client's books with.")
    requests = evidence.summary.requests
    if requests.error or requests.retries:
        return unknown(
            "Requests failed or were tried again, so the server may have counted tokens "
            "that never reached the client."
        )
    tokens = evidence.summary.tokens
    completion = 0 if evidence.run.embeds else tokens.completion
    cached = 0 if evidence.run.embeds else tokens.cached_prompt  # their prompts are read whole
    if completion is None or tokens.prompt is None or cached is None:
        return unknown("Replies without `usage` can't be compared with the server's counters.")
    counted = round(after.get(PREDICTED, 0) - before.get(PREDICTED, 0))
    prompts = round(after.get(PROMPT, 0) - before.get(PROMPT, 0))
    if counted > completion and prompts > tokens.prompt:
        return unknown(
            f"The server processed {prompts - tokens.prompt} prompt tokens more than this run sent: "
            "somebody else used it, so the books can't be compared."
        )
    read = tokens.prompt - cached
    if PROMPT in before and PROMPT in after and prompts != read:
        message = (
            f"By the replies' `usage` the server read {read} prompt tokens that it had not cached; "
            f"its counter grew by {prompts}: one of them is wrong."
        )
        return verdict("books_agree", "fail", float(read), float(prompts), message)
    agree = counted == completion
    if evidence.run.embeds and agree:
        message = f"The server's counter grew by the {read} prompt tokens of the replies' `usage`."
        return verdict("books_agree", "pass", float(read), float(prompts), message)
    message = (
        f"The client received {completion} completion tokens by the replies' `usage`; "
        f"the server's counter grew by {counted}{'.' if agree else ': one of them is wrong.'}"
    )
    status: Status = "pass" if agree else "fail"
    return verdict("books_agree", status, float(completion), float(counted), message)


def server_time_fits(evidence: Evidence) -> Verdict:
    """No request can have taken longer at the server than it did for the client."""
    start, end = ints(evidence.table, "start_ns"), ints(evidence.table, "end_ns")
    served = floats(evidence.table, "server_prompt_ms") + floats(
        evidence.table, "server_predicted_ms"
    )
    known = succeeded(evidence.table) & start.valid & end.valid & ~np.isnan(served)
    allowed = evidence.checks.server_time_excess
    if not known.any():
        message = "The server doesn't say how long it worked on a request."
        return verdict("server_time_fits", "unknown", None, allowed, message)
    latency = (end.values[known] - start.values[known]) / NS_PER_MS
    excess = served[known] / latency - 1
    worst = float(excess.max())
    over = int((excess > allowed).sum())
    if over:
        message = (
            f"{over} of {len(excess)} requests took longer by the server's clock than they did for "
            f"the client (at most by {worst:.1%}): one of the clocks is wrong."
        )
        return verdict("server_time_fits", "fail", worst, allowed, message)
    outside = latency - served[known]
    message = (
        f"The server worked on a request for {float(served[known].mean()):.4g} ms on average; the "
        f"other {float(outside.mean()):.3g} ms of its latency are queueing, connecting and network. "
        f"A clock that is wrong by {(1 + allowed) / (1 + worst) - 1:.1%} or more would have shown."
    )
    return verdict("server_time_fits", "pass", worst, allowed, message)
