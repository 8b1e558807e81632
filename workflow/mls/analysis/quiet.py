"""Was the host left alone while a repeat was measured?"""

from __future__ import annotations

from typing import Any

from mls.analysis.evidence import Evidence, Status, verdict, worst
from mls.analysis.others import Finding, others
from mls.model.result import Verdict
from mls.model.units import MIB, NS_PER_S

LEAST_SUSPENDED_S = 0.1
"""The two clocks are read one after the other; no suspension is as short as that."""


def quiet_host(given: Evidence) -> Verdict:
    """CPU time of others and of the hypervisor, swapping, throttling, governor, clock, suspension.

    Of rank 0's host, where a managed server is, too. `measured` is the share of its CPU time that
    others used; None where it can't be told.
    """
    allowed = given.checks.other_cpu
    before, after = given.host.get("before"), given.host.get("after")
    if not before or not after:
        message = "What else happened on the host was not recorded."
        return verdict("quiet_host", "unknown", None, allowed, message)
    of_others, share = others(given.host, allowed)
    found = [
        of_others,
        *_steal(before, after, given.checks.steal),
        *_swap(before, after),
        *_throttling(before, after),
        *_governor(after),
        *_clock_steps(given.clock),
        *_suspended(before, after),
    ]
    status: Status = worst(s for s, _ in found)  # type: ignore[assignment]
    # what is wrong is told first, and what is right only when nothing is
    told = [text for s, text in found if s == status] + [
        text for s, text in found if s not in (status, "pass")
    ]
    return verdict("quiet_host", status, share, allowed, " ".join(told))


def _steal(before: dict[str, Any], after: dict[str, Any], allowed: float) -> list[Finding]:
    everything = after["all_s"] - before["all_s"]
    if everything <= 0:
        return []
    share = (after["steal_s"] - before["steal_s"]) / everything
    if share <= allowed:
        return []
    text = f"The hypervisor took {share:.1%} of the host's CPU time away (steal), more than {allowed:.0%}."
    return [("fail", text)]


def _swap(before: dict[str, Any], after: dict[str, Any]) -> list[Finding]:
    if before["swapped_bytes"] is None or after["swapped_bytes"] is None:
        return []
    mib = (after["swapped_bytes"] - before["swapped_bytes"]) / MIB
    return [("fail", f"The host swapped ({mib:.1f} MiB): it is short of memory.")] if mib else []


def _throttling(before: dict[str, Any], after: dict[str, Any]) -> list[Finding]:
    if before["throttled"] is None or after["throttled"] is None:
        return []
    times = after["throttled"] - before["throttled"]
    return [("fail", f"The CPU was slowed down for heat {times} times.")] if times else []


def _governor(after: dict[str, Any]) -> list[Finding]:
    name = after["governor"]
    if not name or name == "performance":
        return []
    return [("warn", f"The CPU governor is {name}, not performance: clocks follow the load.")]


def _clock_steps(clock: dict[str, Any]) -> list[Finding]:
    steps = sum(rank.get("wall_clock_steps") or 0 for rank in clock.get("ranks", []))
    if not steps:
        return []
    return [("fail", f"The host's clock was set {steps} times, so arrival times may be wrong.")]


def _suspended(before: dict[str, Any], after: dict[str, Any]) -> list[Finding]:
    since_boot = before.get("boottime_ns"), after.get("boottime_ns")
    if since_boot[0] is None or since_boot[1] is None:
        return []
    awake_ns = after["monotonic_ns"] - before["monotonic_ns"]
    slept_s = (since_boot[1] - since_boot[0] - awake_ns) / NS_PER_S
    if slept_s < LEAST_SUSPENDED_S:
        return []
    text = f"The host was suspended for {slept_s:,.1f} s while it was measured: measure again."
    return [("fail", text)]
