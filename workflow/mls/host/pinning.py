"""Keeping the server and the ranks of one host on CPUs of their own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from mls.config.sections.pin import Pin, read_cpus, write_cpus
from mls.core.errors import UserError
from mls.host.machine import cores, usable_cores

VARIABLE = "MLS_PINNED"
"""Environment variable by which a run learns how it is pinned, as JSON."""

CORES_FOR_EACH_RANK = 4
"""`auto` needs so many, or the ranks would take more than a quarter of the host from the server."""

Cpus = frozenset[int]


@dataclass(frozen=True)
class Pinned:
    """CPUs of the server and of the ranks; None: not pinned. `why`: they are not, or not asked."""

    server: Cpus | None = None
    ranks: Cpus | None = None
    why: str | None = None

    def told(self) -> dict[str, str]:
        """The variables by which a run learns it: `{server, ranks, why}`."""
        named = {key: cpus and write_cpus(cpus) for key, cpus in self._sides.items()}
        return {VARIABLE: json.dumps(named | {"why": self.why})}

    @property
    def _sides(self) -> dict[str, Cpus | None]:
        return {"server": self.server, "ranks": self.ranks}


NOT_PINNED = Pinned()


def pinned() -> dict[str, Any] | None:
    """What `Pinned.told` told this process; None when nobody did."""
    found: dict[str, Any] | None = json.loads(os.environ.get(VARIABLE, "null"))
    return found


def move_to(cpus: Cpus | None) -> None:
    """Keep this process, and all that it starts, on these CPUs; None: where it is."""
    if cpus:
        os.sched_setaffinity(0, cpus)


def choose(pin: Pin, ranks: int, managed: bool) -> Pinned:
    """Who gets which of the CPUs that this process may use. managed: the server is ours to pin.

    Raises `UserError` when the config asks for what can't be had.
    """
    if not hasattr(os, "sched_setaffinity"):
        return _unpinned(pin, "this system has no CPU affinity")
    allowed = frozenset(os.sched_getaffinity(0))
    server = _given("server", pin.server, allowed)
    client = _given("ranks", pin.ranks, allowed)
    if server and not managed:
        raise UserError(
            "pin.server: the server at server.url is not ours to pin; leave it out, and start "
            "that server with `taskset`."
        )
    if server and client and server & client:
        raise UserError(
            f"pin.server and pin.ranks: both have CPU {min(server & client)}; give each its own."
        )
    if pin.server == "auto" and client and managed:
        server = allowed - client or _nothing_left("server")
    if pin.ranks == "auto" and server:
        client = client or allowed - server or _nothing_left("ranks")
    if server or client:
        return Pinned(server, client)
    if "off" in (pin.server, pin.ranks):
        return Pinned(why="the config says off")
    return _apart(allowed, ranks) if managed else Pinned(why="the server is not ours to pin")


def _apart(allowed: Cpus, ranks: int) -> Pinned:
    """A whole core for each rank, the last ones, and the others for the server."""
    whole = cores(allowed)
    wanted = CORES_FOR_EACH_RANK * ranks
    if usable_cores() < wanted:
        return Pinned(
            why=f"with {ranks} ranks that takes {wanted} cores, and there are {usable_cores()}"
        )
    if usable_cores() < len(whole):
        return Pinned(why="a CPU quota, which no choice of cores gets around, limits this host")
    client = frozenset().union(*whole[-ranks:])
    return Pinned(allowed - client, client)


def _unpinned(pin: Pin, why: str) -> Pinned:
    if {pin.server, pin.ranks} <= {"auto", "off"}:
        return Pinned(why=why)
    raise UserError(f"pin: {why}; leave it out.")


def _given(key: str, text: str, allowed: Cpus) -> Cpus | None:
    if text in ("auto", "off"):
        return None
    cpus = read_cpus(text)
    if missing := cpus - allowed:
        raise UserError(
            f"pin.{key}: CPU {min(missing)} is not among those that may be used here, "
            f"{write_cpus(allowed)}."
        )
    return cpus


def _nothing_left(key: str) -> Cpus:
    raise UserError(f"pin.{key}: the other side has all CPUs, so none is left; give it fewer.")
