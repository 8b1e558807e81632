"""Separate CPUs for the server and for the ranks of one host."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from mls.config.sections.pin import Pin, read_cpus, write_cpus
from mls.core.errors import UserError
from mls.host.machine import cores, usable_cores

VARIABLE = "MLS_PINNED"
"""Environment variable that passes a run's CPU sets to it, as JSON."""

CORES_FOR_EACH_RANK = 4
"""Cores that `auto` needs: with fewer, the ranks would take over a quarter of the host."""

Cpus = frozenset[int]


@dataclass(frozen=True)
class CpuSets:
    """CPUs of the server and of the ranks; None for a side that is not pinned, `why` the reason.

    `why` is None as well where nothing asked for pinning.
    """

    server: Cpus | None = None
    ranks: Cpus | None = None
    why: str | None = None

    def variables(self) -> dict[str, str]:
        """The environment variable that passes `{server, ranks, why}` to a run."""
        texts = {key: cpus and write_cpus(cpus) for key, cpus in self._sides.items()}
        return {VARIABLE: json.dumps(texts | {"why": self.why})}

    @property
    def _sides(self) -> dict[str, Cpus | None]:
        return {"server": self.server, "ranks": self.ranks}


NOT_PINNED = CpuSets()


def pinning_record() -> dict[str, Any] | None:
    """`{server, ranks, why}` of `CpuSets.variables`; None without that variable."""
    record: dict[str, Any] | None = json.loads(os.environ.get(VARIABLE, "null"))
    return record


def move_to(cpus: Cpus | None) -> None:
    """Keep this process, and all that it starts, on these CPUs. With None, nothing changes."""
    if cpus:
        os.sched_setaffinity(0, cpus)


def choose(pin: Pin, ranks: int, managed: bool) -> CpuSets:
    """Divide the CPUs that this process may use between server and ranks, as `pin` says.

    ranks: their number on this host. managed: whether mls starts the server, and so may pin it.
    Raises `UserError` when `pin` can't be satisfied.
    """
    if not hasattr(os, "sched_setaffinity"):
        return _no_pinning(pin, "this system has no CPU affinity")
    affinity = frozenset(os.sched_getaffinity(0))
    server = _explicit("server", pin.server, affinity)
    client = _explicit("ranks", pin.ranks, affinity)
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
        server = affinity - client or _refuse_empty("server")
    if pin.ranks == "auto" and server:
        client = client or affinity - server or _refuse_empty("ranks")
    if server or client:
        return CpuSets(server, client)
    if "off" in (pin.server, pin.ranks):
        return CpuSets(why="the config says off")
    return _split(affinity, ranks) if managed else CpuSets(why="the server is not ours to pin")


def _split(affinity: Cpus, ranks: int) -> CpuSets:
    """The last cores for the ranks, one whole core each, and all others for the server."""
    whole = cores(affinity)
    minimum = CORES_FOR_EACH_RANK * ranks
    if usable_cores() < minimum:
        return CpuSets(
            why=f"with {ranks} ranks that takes {minimum} cores, and there are {usable_cores()}"
        )
    if usable_cores() < len(whole):
        return CpuSets(why="a CPU quota, which no choice of cores gets around, limits this host")
    client = frozenset().union(*whole[-ranks:])
    return CpuSets(affinity - client, client)


def _no_pinning(pin: Pin, why: str) -> CpuSets:
    if {pin.server, pin.ranks} <= {"auto", "off"}:
        return CpuSets(why=why)
    raise UserError(f"pin: {why}; leave it out.")


def _explicit(key: str, text: str, affinity: Cpus) -> Cpus | None:
    if text in ("auto", "off"):
        return None
    cpus = read_cpus(text)
    if outside := cpus - affinity:
        raise UserError(
            f"pin.{key}: CPU {min(outside)} is not among those that may be used here, "
            f"{write_cpus(affinity)}."
        )
    return cpus


def _refuse_empty(key: str) -> Cpus:
    raise UserError(f"pin.{key}: the other side has all CPUs, so none is left; give it fewer.")
