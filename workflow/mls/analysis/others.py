"""How much of a host's CPU time others used while a repeat was measured: neither mls nor the server."""

from __future__ import annotations

from typing import Any

from mls.analysis.evidence import Status
from mls.model.units import NS_PER_S

LEAST_S = 0.5
"""CPU times come in ticks of 10 ms: shorter runs can't tell a share of some per cent."""

Finding = tuple[Status, str]


def others(host: dict[str, Any], allowed: float) -> tuple[Finding, float | None]:
    """What is found, and the share that others used; None where it can't be told.

    Of a server that mls did not start, some processes may not be known. What others used then lies
    between two bounds, and only where both are on one side of `allowed` it can be told on which.
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
    if most <= allowed:
        return ("pass", f"Other processes used {_at('most', least, most)}{most:.1%} {of}."), most
    if least > allowed:
        text = (
            f"Other processes used {_at('least', least, most)}{least:.1%} {of}, more than "
            f"{allowed:.0%}: measure again when it is idle."
        )
        return ("fail", text), least
    text = f"{most - least:.1%} {of} may be the server's or that of others: {_why(host)}."
    return ("unknown", text), None


def _bounds(before: dict[str, Any], after: dict[str, Any]) -> tuple[float, float]:
    """The least and the most CPU time in s that others can have used."""

    def spent(key: str) -> float | None:
        then, now = before.get(key, 0.0), after.get(key, 0.0)
        return None if then is None or now is None else float(now - then)

    busy, ours = after["busy_s"] - before["busy_s"], after["ours_s"] - before["ours_s"]
    most = max(0.0, busy - ours - (spent("servers_s") or 0.0))
    perhaps = spent("perhaps_s")
    return (0.0 if perhaps is None else max(0.0, most - perhaps)), most


def _at(bound: str, least: float, most: float) -> str:
    """`at least` or `at most`, unless the other bound is printed alike."""
    return "" if f"{least:.1%}" == f"{most:.1%}" else f"at {bound} "


def _why(host: dict[str, Any]) -> str:
    """Why the server's processes aren't all known, and what helps."""
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
                "give the address at which the server itself listens"
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
