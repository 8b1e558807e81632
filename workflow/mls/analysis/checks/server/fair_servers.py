"""Are several servers alike, so that the figures of all are those of each?"""

from __future__ import annotations

import math

import numpy as np

from mls.analysis.checks.student import quantile
from mls.analysis.repeat.batches import batches_of
from mls.analysis.repeat.columns import ints, succeeded
from mls.analysis.repeat.evidence import Evidence, verdict
from mls.analysis.repeat.samples import of_requests
from mls.analysis.sample_size import MISS, longer
from mls.core.run_result import Verdict

LEAST_BATCHES = 4
"""The least number of batches with requests of both servers. With fewer, Student's interval is too
wide to tell."""


def fair_servers(evidence: Evidence) -> list[Verdict]:
    """One verdict on how far the servers' mean latencies are apart; none with one server.

    `measured` is the greatest mean less the smallest, as a fraction of the mean of all.
    """
    number = ints(evidence.table, "server")
    if not number.valid.any():
        return []
    threshold = evidence.checks.server_spread
    latency, ok = of_requests(evidence.table)["latency_ms"], succeeded(evidence.table)
    counts = np.bincount(number.values[number.valid])
    means = {
        each: float(latency[rows].mean())
        for each in range(len(counts))
        if (rows := ok & number.valid & (number.values == each)).any()
    }
    shares = ", ".join(f"{count / counts.sum():.0%}" for count in counts)
    silent = [each + 1 for each, count in enumerate(counts) if count and each not in means]
    if silent or len(means) < 2:
        message = (
            f"Server {silent[0]} answered none of its requests."
            if silent
            else "All requests went to one server, so nothing tells whether the others are like it."
        )
        return [verdict("fair_servers", "fail" if silent else "unknown", None, threshold, message)]
    slow, fast = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    spread = (means[slow] - means[fast]) / float(np.mean(list(means.values())))
    message = (
        f"Mean latencies of the servers are {spread:.1%} apart: {means[slow]:.4g} ms at server "
        f"{slow + 1}, {means[fast]:.4g} ms at server {fast + 1}; they got {shares} of the requests"
    )
    bounds = _bounds(evidence, slow, fast, len(means))
    if bounds and bounds[0] > 0 and spread > threshold:
        # what users of all of them together see is still what was measured
        message = f"{message}. `server.policy: least_outstanding` gives a slower one fewer."
        return [verdict("fair_servers", "warn", spread, threshold, message)]
    if bounds and spread <= threshold and bounds[1] < 2 * threshold:
        return [verdict("fair_servers", "pass", spread, threshold, f"{message}.")]
    factor = max(2.0, ((bounds[1] - bounds[0]) / 2 / threshold) ** 2) if bounds else 4.0
    more = longer(math.ceil(factor * len(number.values)), evidence)
    message = f"{message}; so few can't tell whether that is chance: {more}."
    return [verdict("fair_servers", "unknown", spread, threshold, message)]


def _bounds(evidence: Evidence, slow: int, fast: int, servers: int) -> tuple[float, float] | None:
    """(least, most) by which requests may take longer at the slow server than at the fast one.

    Both are fractions. They are Student's interval of the logarithm of the latencies' ratio, one
    ratio a batch of the window: what slows both servers at once cancels out. Bonferroni's
    correction accounts for the choice of these two among all servers. None when fewer than
    `LEAST_BATCHES` batches have requests of both.
    """
    batches, number = batches_of(evidence), ints(evidence.table, "server").values
    log_ratios = []
    for batch in batches.bounds:
        server, latency = number[batches.rows[batch]], batches.latency[batch]
        if (server == slow).any() and (server == fast).any():
            log_ratios.append(
                np.log(latency[server == slow].mean() / latency[server == fast].mean())
            )
    if len(log_ratios) < LEAST_BATCHES:
        return None
    pairs = servers * (servers - 1) / 2
    error = float(np.std(log_ratios, ddof=1) / np.sqrt(len(log_ratios)))
    reach = quantile(1 - MISS / 2 / pairs, len(log_ratios) - 1) * error
    middle = float(np.mean(log_ratios))
    return float(np.expm1(middle - reach)), float(np.expm1(middle + reach))
