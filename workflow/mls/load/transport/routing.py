"""The choice of one of several servers for each request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mls.config.sections.server import Policy


class Router:
    """Chooses servers by a policy, which is the same on every rank."""

    def __init__(self, servers: int, policy: Policy, turns: int) -> None:
        """servers: number of servers. turns: number of consecutive jobs of a session."""
        self._servers = servers
        self._policy = policy
        self._turns = turns

    def choose(self, job: int, busy: Iterable[int]) -> int:
        """The number of the server for a job.

        busy: the servers of this rank's outstanding requests. `least_outstanding` chooses the
        server with the fewest; among several such servers, the one whose turn it is.
        """
        count = self._servers
        if self._policy == "least_outstanding":
            outstanding = Counter(busy)
            return min(range(count), key=lambda each: (outstanding[each], (each - job) % count))
        return (job // self._turns if self._policy == "sticky" else job) % count
