"""Was the host left alone while a repeat was measured?"""

from __future__ import annotations

from typing import Any

from mls.analysis.repeat.evidence import Evidence, Status, verdict, worst
from mls.core.run_result import Verdict
from mls.core.units import MIB, NS_PER_S

LEAST_S = 0.5
"""The shortest run that can tell a share of some per cent: CPU times come in ticks of 10 ms."""

Finding = tuple[Status, str]

LEAST_SUSPENDED_S = 0.1
"""The shortest suspension that counts. The two clocks are read one after the other, which takes far
less."""


def quiet_host(evidence: Evidence) -> Verdict:
    """CPU time of others and of the hypervisor, swapping, throttling, governor, clock, suspension.

    The host is rank 0's, which is that of a managed server, too. `measured` is the share of its CPU
    time that others used; None where it can't be told.
    """
    threshold = evidence.checks.other_cpu
    before, after = evidence.host.get("before"), evidence.host.get("after")
    if not before or not after:
        message = "What else happened on the host was not recorded."
        return verdict("quiet_host", "unknown", None, threshold, message)
    of_others, share = others(evidence.host, threshold)
    findings = [
        of_others,
        *_steal(before, after, evidence.checks.steal),
        *_swap(before, after),
        *_throttling(before, after),
        *_governor(after),
        *_clock_steps(evidence.clock),
        *_suspended(before, after),
    ]
    status: Status = worst(s for s, _ in findings)  # type: ignore[assignment]
    # what is wrong is told first, and what is right only when nothing is
    sentences = [text for s, text in findings if s == status] + [
        text for s, text in findings if s not in (status, "pass")
    ]
    return verdict("quiet_host", status, share, threshold, " ".join(sentences))


def others(host: dict[str, Any], threshold: float) -> tuple[Finding, float | None]:
    """The finding on CPU time of others, and the share that they used; None where it can't be told.

    Some processes of a server that mls did not start may be unknown. The share then lies between
    two bounds, and the finding is certain only when both are on the same side of `threshold`.
    """
    before, after = host["before"], host["after"]
    everything = after["all_s"] - before["all_s"]
    seconds = (after["monotonic_ns"] - before["monotonic_ns"]) / NS_PER_S
    if host.get("server") == "local" and "servers_s" not in before:  # measured by an older mls
        text = (
            "The server runs on this host, but mls did not start it, so its CPU time can't be told "
            "from that of others."
        )
        return ("unknown", text), None
    if seconds < LEAST_S or everything <= 0:
        text = "The run was too short to tell how much CPU time others used."
        return ("unknown", text), None
    least, most = _bounds(before, after)
    least, most = least / everything, most / everything
    of = "of the host's CPU time"
    if most <= threshold:
        return ("pass", f"Other processes used {_at('most', least, most)}{most:.1%} {of}."), most
    if least > threshold:
        text = (
            f"Other processes used {_at('least', least, most)}{least:.1%} {of}, more than "
            f"{threshold:.0%}: measure again when it is idle."
        )
        return ("fail", text), least
    text = f"{most - least:.1%} {of} may be the server's or that of others: {_why(host)}."
    return ("unknown", text), None


def _bounds(before: dict[str, Any], after: dict[str, Any]) -> tuple[float, float]:
    """The least and the most CPU time in s that others can have used."""

    def growth(key: str) -> float | None:
        then, now = before.get(key, 0.0), after.get(key, 0.0)
        return None if then is None or now is None else float(now - then)

    busy, ours = after["busy_s"] - before["busy_s"], after["ours_s"] - before["ours_s"]
    most = max(0.0, busy - ours - (growth("servers_s") or 0.0))
    perhaps = growth("perhaps_s")
    return (0.0 if perhaps is None else max(0.0, most - perhaps)), most


def _at(bound: str, least: float, most: float) -> str:
    """`at least ` or `at most `; empty when both bounds are printed alike."""
    return "" if f"{least:.1%}" == f"{most:.1%}" else f"at {bound} "


def _why(host: dict[str, Any]) -> str:
    """Why some of the server's processes are unknown, and what helps."""
    for one in host.get("listeners", []):
        url, who = one["url"], one["who"]
        if one["hidden"] == "other user":
            return (
                f"what listens at {url} belongs to {who}, whose processes can't be looked into; run mls "
                f"as {who} or as root"
            )
        if one["hidden"] == "passed on":
            return (
                f"at {url} listens {who}, which passes requests on to a server that it doesn't name; "
                "give the address at which the server itself listens, or its page of metrics "
                "(server.metrics_url)"
            )
        if one["hidden"] == "nobody":
            return (
                f"no process of this host's network listens at {url}, as when the server is in a "
                "container; give the container the host's network"
            )
        if one["hidden"] == "ended":
            return f"of the processes that listened at {url} one has ended meanwhile; see the server's log"
        if one["hidden"]:
            return "this system doesn't tell who listens at a port"
    beside = sorted({name for one in host.get("listeners", []) for name in one["perhaps_below"]})
    return (
        f"it was used by processes that were started beside the server, below {', '.join(beside)}; "
        "stop those that are not the server's, or start it in a session of its own (setsid)"
    )


def _steal(before: dict[str, Any], after: dict[str, Any], threshold: float) -> list[Finding]:
    everything = after["all_s"] - before["all_s"]
    if everything <= 0:
        return []
    share = (after["steal_s"] - before["steal_s"]) / everything
    if share <= threshold:
        return []
    text = (
        f"The hypervisor took {share:.1%} of the host's CPU time away (steal), "
        f"more than {threshold:.0%}."
    )
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
