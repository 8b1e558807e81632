"""Are several servers alike, so that what all of them show is what each of them does?"""

from __future__ import annotations

import numpy as np

from mls.analysis.columns import ints, succeeded
from mls.analysis.evidence import Evidence, verdict
from mls.analysis.samples import of_requests
from mls.model.result import Verdict


def fair_servers(given: Evidence) -> list[Verdict]:
    """How far the servers' mean latencies are apart; nothing with one server.

    `measured`: the greatest less the smallest, as a fraction of their mean.
    """
    number = ints(given.table, "server")
    if not number.valid.any():
        return []
    allowed = given.checks.server_spread
    latency, ok = of_requests(given.table)["latency_ms"], succeeded(given.table)
    sent = np.bincount(number.values[number.valid])
    means = {
        each: float(latency[found].mean())
        for each in range(len(sent))
        if (found := ok & number.valid & (number.values == each)).any()
    }
    shares = ", ".join(f"{count / sent.sum():.0%}" for count in sent)
    silent = [each + 1 for each, count in enumerate(sent) if count and each not in means]
    if silent or len(means) < 2:
        message = (
            f"Server {silent[0]} answered none of its requests."
            if silent
            else "All requests went to one server, so nothing tells whether the others are like it."
        )
        return [verdict("fair_servers", "fail" if silent else "unknown", None, allowed, message)]
    slow, fast = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    spread = (means[slow] - means[fast]) / float(np.mean(list(means.values())))
    message = (
        f"Mean latencies of the servers are {spread:.1%} apart: {means[slow]:.4g} ms at server "
        f"{slow + 1}, {means[fast]:.4g} ms at server {fast + 1}; they got {shares} of the requests"
    )
    if spread <= allowed:
        return [verdict("fair_servers", "pass", spread, allowed, f"{message}.")]
    # what users of all of them together see is still what was measured
    message = f"{message}. `server.policy: least_outstanding` gives a slower one fewer."
    return [verdict("fair_servers", "warn", spread, allowed, message)]
