"""Are several servers alike, so that what all of them show is what each of them does?"""

from __future__ import annotations

import math

import numpy as np

from mls.analysis.repeat.batches import batches_of
from mls.analysis.repeat.columns import ints, succeeded
from mls.analysis.repeat.evidence import Evidence, verdict
from mls.analysis.repeat.samples import of_requests
from mls.analysis.sample_size import MISS, longer
from mls.core.run_result import Verdict

LEAST_BATCHES = 4
"""With fewer batches that have requests of both servers, Student's interval is too wide to tell."""


def fair_servers(evidence: Evidence) -> list[Verdict]:
    """How far the servers' mean latencies are apart; nothing with one server.

    `measured`: the greatest less the smallest, as a fraction of their mean.
    """
    number = ints(evidence.table, "server")
    if not number.valid.any():
        return []
    allowed = evidence.checks.server_spread
    latency, ok = of_requests(evidence.table)["latency_ms"], succeeded(evidence.table)
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
    bounds = _bounds(evidence, slow, fast, len(means))
    if bounds and bounds[0] > 0 and spread > allowed:
        # what users of all of them together see is still what was measured
        message = f"{message}. `server.policy: least_outstanding` gives a slower one fewer."
        return [verdict("fair_servers", "warn", spread, allowed, message)]
    if bounds and spread <= allowed and bounds[1] < 2 * allowed:
        return [verdict("fair_servers", "pass", spread, allowed, f"{message}.")]
    factor = max(2.0, ((bounds[1] - bounds[0]) / 2 / allowed) ** 2) if bounds else 4.0
    more = longer(
        math.ceil(factor * len(number.values)), evidence.run, evidence.load, evidence.workload
    )
    message = f"{message}; so few can't tell whether that is chance: {more}."
    return [verdict("fair_servers", "unknown", spread, allowed, message)]


def _bounds(evidence: Evidence, slow: int, fast: int, servers: int) -> tuple[float, float] | None:
    """How much longer requests take at one server than at another: the least and the most it may be.

    Student's interval of the logarithm of the ratio in each batch of the window, so that what
    slows both at once is in neither; Bonferroni's, since the two were chosen among all servers.
    None when fewer than `LEAST_BATCHES` batches have requests of both.
    """
    cut, number = batches_of(evidence), ints(evidence.table, "server").values
    apart = []
    for batch in cut.bounds:
        server, latency = number[cut.rows[batch]], cut.latency[batch]
        if (server == slow).any() and (server == fast).any():
            apart.append(np.log(latency[server == slow].mean() / latency[server == fast].mean()))
    if len(apart) < LEAST_BATCHES:
        return None
    from scipy import stats  # rank 0 need not wait for it before the load

    pairs = servers * (servers - 1) / 2
    error = float(np.std(apart, ddof=1) / np.sqrt(len(apart)))
    reach = float(stats.t.ppf(1 - MISS / 2 / pairs, len(apart) - 1)) * error
    middle = float(np.mean(apart))
    return float(np.expm1(middle - reach)), float(np.expm1(middle + reach))
