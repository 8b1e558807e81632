"""The interfaces of a transport, and of the pacing that decides when it sends what."""

from __future__ import annotations

from typing import Protocol

from mls.load.transport.connection import Connection
from mls.load.transport.exchange import Clock, Exchange, JobSource
from mls.load.transport.spool import ExchangeSpool
from mls.load.transport.timers import Timers


class Sender(Protocol):
    """The interface of a transport for a pacing."""

    timers: Timers

    @property
    def connections(self) -> list[Connection]:
        """All connections of this rank, in the order of their slots."""
        ...

    def add_connection(self) -> Connection:
        """Add a connection that is not open yet."""
        ...

    def start(self, connection: Connection, job: int, scheduled_ns: int) -> None:
        """Send a job's request on a free connection, now."""
        ...

    def leave_out(self, exchange: Exchange) -> None:
        """Record a request that was never sent."""
        ...


class Pacing(Protocol):
    """The decision when each job is started, and on which connection. `pacing` has all pacings."""

    @property
    def source(self) -> JobSource: ...

    @property
    def end_ns(self) -> int:
        """The time at which incomplete requests fail."""
        ...

    waiting: list[tuple[Connection, int]]
    """Free connections that wait for a job, with the time since which they are free."""

    def begin(self, sender: Sender) -> None:
        """Start the first jobs."""
        ...

    def free(self, connection: Connection, exchange: Exchange, since_ns: int) -> None:
        """Note that a request has ended, and that its connection is free."""
        ...

    def ask_again(self) -> None:
        """Start jobs on connections that wait, if there are jobs by now."""
        ...


class Transport(Protocol):
    """Sends requests and times their replies. One per rank."""

    clock: Clock

    @property
    def gone(self) -> str | None:
        """The reason for giving up on the server; None while it is there."""
        ...

    @property
    def wall_clock_steps(self) -> int:
        """Number of jumps of the wall clock during the load."""
        ...

    def connect(self, places: int) -> None:
        """Open a connection for each place. Raises `UserError` when the server isn't there."""
        ...

    def run(self, pacing: Pacing) -> ExchangeSpool:
        """Send until the pacing has no more jobs and no reply is missing. Returns all exchanges."""
        ...

    def close(self) -> None: ...
