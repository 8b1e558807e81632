"""The CPUs and the card of each server of a fleet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mls.config.sections.pin import write_cpus
from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.gpu.inventory import visible_cards
from mls.host.machine import cores, numa_nodes
from mls.host.pinning import Cpus

_CARDS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Place:
    """Where a server runs. cpus, card: None for any.

    own_memory: whether the model is read into memory of the server's own. A mapped file lies in the
    memory of the NUMA node that read it first, for all processes that map it.
    """

    cpus: Cpus | None = None
    card: str | None = None
    own_memory: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """The environment variable that keeps the server to its card."""
        return {} if self.card is None else {_CARDS: self.card}

    def record(self) -> dict[str, Any]:
        """`{cpus, card}` as in a run's record; null for any."""
        return {"cpus": self.cpus and write_cpus(self.cpus), "card": self.card}


ANYWHERE = Place()


def places(server: Server, cpus: Cpus | None = None) -> list[Place]:
    """A place for each managed server of the config. Raises `UserError` where one has none.

    cpus: those of all servers together; None for any.
    """
    if server.fleet == 1:
        return [Place(cpus)]
    if not hasattr(os, "sched_getaffinity"):
        raise UserError("server.fleet: this system has no CPU affinity; leave it out.")
    available = cpus or frozenset(os.sched_getaffinity(0))
    if server.fleet == "numa":
        return [Place(node, own_memory=True) for node in numa_nodes(available)]
    if server.fleet == "gpus":
        cards = visible_cards()
        if not cards:
            raise UserError(
                "server.fleet: gpus was asked for, but no card is to be seen (`nvidia-smi` lists "
                f"them, {_CARDS} hides them); give a number, or leave it out."
            )
        parts: list[Cpus | None] = [*_shares(available, len(cards))] or [cpus] * len(cards)
        return [Place(part, card) for part, card in zip(parts, cards, strict=True)]
    shares = _shares(available, server.fleet)
    if not shares:
        raise UserError(
            f"server.fleet: {server.fleet} servers need a core each, and there are "
            f"{len(cores(available))} for them; ask for fewer."
        )
    return [Place(share) for share in shares]


def _shares(cpus: Cpus, count: int) -> list[Cpus]:
    """The CPUs in `count` parts of adjacent whole cores; [] when there are too few cores."""
    whole = cores(cpus)
    if len(whole) < count:
        return []
    ends = [len(whole) * part // count for part in range(count + 1)]
    return [frozenset().union(*whole[a:b]) for a, b in pairwise(ends)]
