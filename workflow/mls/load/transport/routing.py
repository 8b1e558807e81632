"""Which of several servers a request goes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mls.config.sections.server import Policy


class Router:
    """The policy. The same on every rank."""

    def __init__(self, servers: int, policy: Policy, turns: int) -> None:
        """servers: how many there are. turns: jobs that a session has, one after another."""
        self._servers = servers
        self._policy = policy
        self._turns = turns

    def choose(self, job: int, busy: Iterable[int]) -> int:
        """Number of the server for a job. busy: those of this rank's outstanding requests.

        `least_outstanding`: the fewest of them, and of several such servers the one whose turn it is.
        """
        count = self._servers
        if self._policy == "least_outstanding":
            outstanding = Counter(busy)
            return min(range(count), key=lambda each: (outstanding[each], (each - job) % count))
        return (job // self._turns if self._policy == "sticky" else job) % count
