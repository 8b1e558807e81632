"""Did requests succeed, and did the client keep up with them?"""

from __future__ import annotations

import numpy as np

from mls.analysis.checks.pace import cap_reached
from mls.analysis.repeat.columns import succeeded, successions
from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.analysis.repeat.samples import of_requests
from mls.analysis.sample_size import unseen_share
from mls.core.run_result import Verdict


def errors(evidence: Evidence) -> Verdict:
    requests, threshold = evidence.summary.requests, evidence.checks.error_rate
    sent = requests.total - requests.cancelled
    rate = requests.error / sent if sent else 1.0
    kinds = ", ".join(f"{count} × {kind}" for kind, count in requests.errors.items())
    if not sent:
        message = "No request was sent" + (" but cancelled ones." if requests.total else ".")
    elif not requests.error:
        message = (
            f"All {sent} requests succeeded; a server that fails fewer than "
            f"{unseen_share(sent):.1%} of them may look so by chance."
        )
    else:
        message = f"{requests.error} of {sent} requests failed ({kinds})."
    if sent and requests.cancelled:
        message += f" {requests.cancelled} more were cancelled, which is no failure."
    status: Status = "pass" if not rate else "warn" if rate <= threshold else "fail"
    return verdict("errors", status, rate, threshold, message)


def client_kept_up(evidence: Evidence) -> Verdict:
    client, checks = evidence.summary.client, evidence.checks
    busy, lag = client.busiest_rank_cpu_fraction, client.loop_lag_ms.p99
    if busy > checks.client_cpu_fraction:
        message = (
            f"The busiest rank used {busy:.0%} of a core: the client may be what was measured; "
            "use more ranks."
        )
        return verdict("client_kept_up", "fail", busy, checks.client_cpu_fraction, message)
    if client.clock == "user":
        message = (
            f"The busiest rank used {busy:.0%} of a core; how late the client read the replies "
            "isn't known, as there are no kernel timestamps to compare with."
        )
        return verdict("client_kept_up", "unknown", None, checks.client_lateness, message)
    # behind the cap of an open loop, it is the cap that makes requests late
    lateness = None if cap_reached(evidence) else _mean_lateness(evidence)
    latency = evidence.summary.latency_ms.mean
    if cap_reached(evidence) and latency:
        message = (
            f"The busiest rank used {busy:.0%} of a core. Requests waited for load.max_inflight, so "
            "their lateness doesn't say whether they waited for the client, too: raise the cap to tell."
        )
        return verdict("client_kept_up", "unknown", busy, checks.client_cpu_fraction, message)
    if lateness is None or not latency:
        message = (
            "No request succeeded after another at its place, so there is nothing to tell it from: "
            "send more (run.rounds)."
        )
        return verdict("client_kept_up", "unknown", None, checks.client_lateness, message)
    # arrival times are the kernel's: all that a late client changes is when the next request starts
    share = lateness / latency
    late = share > checks.client_lateness
    lag_text = (  # embeddings have no chunks
        ""
        if lag is None
        else f"99 % of the chunks were read within {lag:.2g} ms of their arrival, "
    )
    message = (
        f"A request that was due waited {lateness:.2g} ms for its start, {share:.2%} of the mean "
        f"latency; {lag_text}and the busiest rank used {busy:.0%} of a core"
        f"{': the server had less to do than was asked for.' if late else '.'}"
    )
    status: Status = "fail" if late else "pass"
    return verdict("client_kept_up", status, share, checks.client_lateness, message)


def _mean_lateness(evidence: Evidence) -> float | None:
    """Mean lateness in ms of successful requests; None when there are none.

    In a closed loop only requests count that followed another at their place. The first at each
    place waits for no other; with few rounds the first ones would hide the lateness of the others.
    """
    table, rows = evidence.table, succeeded(evidence.table)
    if not evidence.load.open:
        _, later = successions(table)
        rows &= np.isin(np.arange(len(rows)), later)
    lateness = of_requests(table)["lateness_ms"][rows]
    values = lateness[~np.isnan(lateness)]
    return float(values.mean()) if len(values) else None


def arrival_clock(evidence: Evidence) -> Verdict:
    clock = evidence.summary.client.clock
    if clock == "kernel":
        return verdict(
            "arrival_clock", "pass", clock, "kernel", "Arrival times come from the kernel."
        )
    message = (
        "Arrival times were taken by the client when it read, not by the kernel: "
        "the client's own delays are in them."
    )
    return verdict("arrival_clock", "warn", clock, "kernel", message)
