"""Double entry: the client's counts and times against the server's own."""

from __future__ import annotations

import numpy as np

from mls.analysis.repeat.columns import floats, ints, succeeded
from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.core.run_result import Verdict
from mls.core.units import NS_PER_MS


def books_agree(evidence: Evidence) -> Verdict:
    """The tokens of the replies' `usage` must be the growth of the server's counters."""

    def unknown(why: str) -> Verdict:
        return verdict("books_agree", "unknown", None, None, why)

    server = evidence.server_figures
    profile = server.profile
    completion_growth = server.growth(profile.completion_tokens)
    prompt_growth = server.growth(profile.prompt_tokens)
    embeds = evidence.run.embeds
    if (prompt_growth if embeds else completion_growth) is None:
        return unknown("The server has no /metrics counters to compare the client's books with.")
    requests = evidence.summary.requests
    if requests.error or requests.retries:
        return unknown(
            "Requests failed or were tried again, so the server may have counted tokens "
            "that never reached the client."
        )
    if requests.cancelled:
        return unknown(
            f"{requests.cancelled} requests were cancelled (run.cancel): the server may have counted "
            "tokens of theirs, and the client has no `usage` of them to compare."
        )
    tokens = evidence.summary.tokens
    completion = 0 if embeds else tokens.completion
    # Prompts of embeddings are read whole
    cached = 0 if embeds or profile.counts_cached else tokens.cached_prompt
    if completion is None or tokens.prompt is None or cached is None:
        return unknown("Replies without `usage` can't be compared with the server's counters.")
    growth = completion_growth or 0
    if growth > completion and prompt_growth is not None and prompt_growth > tokens.prompt:
        return unknown(
            f"The server processed {prompt_growth - tokens.prompt} prompt tokens more than this run sent: "
            "somebody else used it, so the books can't be compared."
        )
    read = tokens.prompt - cached
    if prompt_growth is not None and prompt_growth != read:
        which = "" if profile.counts_cached else " that it had not cached"
        message = (
            f"By the replies' `usage` the server read {read} prompt tokens{which}; "
            f"its counter grew by {prompt_growth}: one of them is wrong."
        )
        return verdict("books_agree", "fail", float(read), float(prompt_growth), message)
    agree = growth == completion
    if embeds and agree:
        message = f"The server's counter grew by the {read} prompt tokens of the replies' `usage`."
        return verdict("books_agree", "pass", float(read), float(prompt_growth or 0), message)
    message = (
        f"The client received {completion} completion tokens by the replies' `usage`; "
        f"the server's counter grew by {growth}{'.' if agree else ': one of them is wrong.'}"
    )
    status: Status = "pass" if agree else "fail"
    return verdict("books_agree", status, float(completion), float(growth), message)


def server_time_fits(evidence: Evidence) -> Verdict | None:
    """No request may take longer by the server's timings than by the client's clock.

    None where replies have no timings and the server has histograms instead, see
    `server_histograms_agree`.
    """
    start, end = ints(evidence.table, "start_ns"), ints(evidence.table, "end_ns")
    server_ms = floats(evidence.table, "server_prompt_ms") + floats(
        evidence.table, "server_predicted_ms"
    )
    rows = succeeded(evidence.table) & start.valid & end.valid & ~np.isnan(server_ms)
    threshold = evidence.checks.server_time_excess
    if not rows.any():
        if evidence.server_figures.mean_ms("latency_ms"):
            return None
        message = "The server doesn't say how long it worked on a request."
        return verdict("server_time_fits", "unknown", None, threshold, message)
    latency = (end.values[rows] - start.values[rows]) / NS_PER_MS
    excess = server_ms[rows] / latency - 1
    worst = float(excess.max())
    over = int((excess > threshold).sum())
    if over:
        message = (
            f"{over} of {len(excess)} requests took longer by the server's clock than they did for "
            f"the client (at most by {worst:.1%}): one of the clocks is wrong."
        )
        return verdict("server_time_fits", "fail", worst, threshold, message)
    outside = latency - server_ms[rows]
    message = (
        f"The server worked on a request for {float(server_ms[rows].mean()):.4g} ms on average; the "
        f"other {float(outside.mean()):.3g} ms of its latency are queueing, connecting and network. "
        f"A clock that is wrong by {(1 + threshold) / (1 + worst) - 1:.1%} or more would have shown."
    )
    return verdict("server_time_fits", "pass", worst, threshold, message)
