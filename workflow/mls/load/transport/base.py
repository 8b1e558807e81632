"""What a transport is, and who decides when it sends what."""

from __future__ import annotations

from typing import Protocol

from mls.load.transport.connection import Connection
from mls.load.transport.exchange import Clock, Exchange, JobSource
from mls.load.transport.spool import Finished
from mls.load.transport.timers import Timers


class Sender(Protocol):
    """A transport as a pacing sees it."""

    timers: Timers

    @property
    def connections(self) -> list[Connection]:
        """All of this rank's, by their slots."""
        ...

    def add_connection(self) -> Connection:
        """One more connection, not open yet."""
        ...

    def start(self, connection: Connection, job: int, scheduled_ns: int) -> None:
        """Send a job's request on a free connection, now."""
        ...

    def leave_out(self, exchange: Exchange) -> None:
        """Record a request that was never sent."""
        ...


class Pacing(Protocol):
    """When which job is started, on which connection. See `pacing` for those that there are."""

    @property
    def source(self) -> JobSource: ...

    @property
    def end_ns(self) -> int:
        """When what isn't complete has failed."""
        ...

    waiting: list[tuple[Connection, int]]
    """Free connections that wait for a job, and since when."""

    def begin(self, sender: Sender) -> None:
        """Start what is to be started first."""
        ...

    def free(self, connection: Connection, exchange: Exchange, since_ns: int) -> None:
        """A request has ended, and its connection is free."""
        ...

    def ask_again(self) -> None:
        """Start jobs that have come for connections that wait."""
        ...


class Transport(Protocol):
    """Sends requests and times their replies. One per rank."""

    clock: Clock

    @property
    def gone(self) -> str | None:
        """Why the server was given up on, if it was."""
        ...

    @property
    def wall_clock_steps(self) -> int:
        """Jumps of the wall clock seen while load was running."""
        ...

    def connect(self, places: int) -> None:
        """Open so many connections. Raises `UserError` when the server isn't there."""
        ...

    def run(self, pacing: Pacing) -> Finished:
        """Send until the pacing has no more and all replies are there; all exchanges."""
        ...

    def close(self) -> None: ...
