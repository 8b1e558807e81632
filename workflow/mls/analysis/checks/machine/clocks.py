"""Are the clocks of several hosts known well enough to put their records side by side?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mls.analysis.repeat.evidence import Evidence, excess, verdict
from mls.core.run_result import Verdict
from mls.core.units import NS_PER_MS

MOST_DRIFT_PPM = 1000.0
"""NTP slews a clock by at most 500 ppm, so two clocks drift apart by at most twice that. More is no
drift: one clock was stopped, as in a suspended host or a paused virtual machine."""

PPM = 1_000_000


def clocks_agree(evidence: Evidence) -> Iterable[Verdict]:
    """One verdict when ranks have other clocks than rank 0's, else none.

    `measured` is the greatest uncertainty of a rank's offset, as a share of the median TTFT (of the
    median latency where replies come in one piece).
    """
    ranks = [rank for rank in evidence.clock.get("ranks", []) if _uncertainty_ns(rank)]
    if not ranks:
        return []
    return [_judge(evidence, ranks)]


def _judge(evidence: Evidence, ranks: list[dict[str, Any]]) -> Verdict:
    check, threshold = "clocks_agree", evidence.checks.clock_uncertainty
    outlier = max(ranks, key=_drift_ppm)
    if _drift_ppm(outlier) > MOST_DRIFT_PPM:
        message = (
            f"The clock of rank {outlier['rank']}'s host went {outlier['offset']['drift_ppm'] / PPM:+.2%} "
            "against rank 0's: one of the hosts was stopped for a while, or its clock is broken."
        )
        return verdict(check, "fail", None, threshold, message)
    ttft, latency = evidence.summary.ttft_ms.p50, evidence.summary.latency_ms.p50
    median, figure = (ttft, "TTFT") if ttft else (latency, "latency")
    worst = max(ranks, key=_uncertainty_ns)
    within_ms = _uncertainty_ns(worst) / NS_PER_MS
    accuracy = f"The clock of rank {worst['rank']}'s host is known to within {within_ms:.2g} ms"
    if not median:
        return verdict(check, "unknown", None, threshold, f"{accuracy}; no request succeeded.")
    share = within_ms / median
    message = f"{accuracy}, {share:.2%} of the median {figure}"
    if share <= threshold:
        return verdict(check, "pass", share, threshold, f"{message}; no other is known less well.")
    return verdict(
        check,
        excess(share, threshold),
        share,
        threshold,
        f"{message}, more than {threshold:.0%}: which requests of different hosts were in flight "
        "together isn't known well enough; use hosts that are nearer to each other.",
    )


def _uncertainty_ns(rank: dict[str, Any]) -> int:
    offset = rank.get("offset") or {}
    return max((offset[key][1] for key in ("before_ns", "after_ns") if key in offset), default=0)


def _drift_ppm(rank: dict[str, Any]) -> float:
    """The least drift in ppm of the rank's clock against rank 0's, in either direction."""
    offset = rank["offset"]
    if offset["drift_ppm"] is None:
        return 0.0
    return max(0.0, abs(offset["drift_ppm"]) - offset["drift_uncertainty_ppm"])
