"""The three pacings of a load: when a place is free, after a pause, or when an arrival is due."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial

from mls.load.replies import parse
from mls.load.transport.base import Sender
from mls.load.transport.connection import Connection
from mls.load.transport.exchange import Exchange, JobSource
from mls.load.transport.limits import NEVER_NS
from mls.load.transport.unframe import unframe
from mls.load.workload.arrivals import Arrivals
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.conversations.pauses import Pauses
from mls.load.workload.conversations.turns import NextTurn


class ClosedLoop:
    """Keeps each place busy from its start time on, until the source is exhausted."""

    end_ns = NEVER_NS
    _sender: Sender

    def __init__(self, source: JobSource, starts_ns: list[int]) -> None:
        """starts_ns: the start of the first request of each of this rank's places."""
        self.source = source
        self.starts_ns = starts_ns
        self.waiting: list[tuple[Connection, int]] = []

    def begin(self, sender: Sender) -> None:
        self._sender = sender
        for connection, start_ns in zip(sender.connections, self.starts_ns, strict=True):
            sender.timers.at(start_ns, partial(self._next, connection, start_ns))

    def free(self, connection: Connection, exchange: Exchange, since_ns: int) -> None:
        self._next(connection, since_ns)

    def ask_again(self) -> None:
        waiting, self.waiting = self.waiting, []
        for connection, since_ns in waiting:
            self._next(connection, since_ns)

    def _next(self, connection: Connection, free_since_ns: int) -> None:
        """Start the next job on a free connection."""
        job = self.source.draw()
        if job is not None:
            self._sender.start(connection, job, free_since_ns)
        elif not self.source.exhausted:
            self.waiting.append((connection, free_since_ns))


@dataclass(slots=True)
class _Session:
    """What goes on at a place: a conversation, or a request by itself.

    lines: those of it that have not ended, more than one while it has branches. ends_ns: when the
    replies to its jobs ended. failed: whether one of these has failed, so that no further turn is sent.
    """

    lines: int = 1
    ends_ns: dict[int, int] = field(default_factory=dict)
    failed: bool = False


class Users(ClosedLoop):
    """A closed loop of users, who think between requests and stay on their connection.

    Branches of a conversation go on side by side: the first on its connection, each further one on
    another, which has the number of its place meanwhile.
    """

    def __init__(
        self,
        source: JobSource,
        starts_ns: list[int],
        pauses: Pauses,
        conversations: WorkloadBodies | None,
    ) -> None:
        """conversations: the bodies that continue conversations; None without conversations."""
        super().__init__(source, starts_ns)
        self._pauses = pauses
        self._conversations = conversations
        self._sessions = [_Session() for _ in starts_ns]
        self._idle: list[Connection] = []  # of branches that have ended

    def free(self, connection: Connection, exchange: Exchange, since_ns: int) -> None:
        session = self._sessions[connection.slot]
        session.ends_ns[exchange.job] = since_ns
        turns = self._next_turns(session, exchange)
        if not turns:
            self._end_line(connection, exchange.job)
            return
        session.lines += len(turns) - 1
        for number, turn in enumerate(turns):
            # the reply that is read last need not be the one that came last
            last_ns = max(session.ends_ns[job] for job in (turn.previous, *turn.joins))
            due_ns = last_ns + self._pauses.after_ns(turn.previous, turn.delay_s)
            own = self._another(connection.slot) if number else connection
            self._sender.timers.at(due_ns, partial(self._take_turn, own, turn.job, due_ns))

    def _next_turns(self, session: _Session, exchange: Exchange) -> list[NextTurn]:
        """The conversation's turns after a reply; none after the last turn, or a failure."""
        if self._conversations is None:
            return []
        if exchange.error is None:
            unframe(exchange)
            reply = parse(exchange)
            session.failed |= reply.error is not None
        else:
            session.failed = True
        if session.failed:
            return []
        return self._conversations.next_turns(exchange.job, reply.content)

    def _take_turn(self, connection: Connection, job: int, due_ns: int) -> None:
        session = self._sessions[connection.slot]
        if session.failed:  # in another branch, meanwhile
            session.ends_ns[job] = due_ns
            self._end_line(connection, job)
        else:
            self._sender.start(connection, job, due_ns)

    def _end_line(self, connection: Connection, job: int) -> None:
        """End a line after this job, and with the last one its conversation."""
        session = self._sessions[connection.slot]
        session.lines -= 1
        if session.lines:
            self._idle.append(connection)
            return
        self._sessions[connection.slot] = _Session()
        due_ns = max(session.ends_ns.values()) + self._pauses.after_ns(job)
        self._sender.timers.at(due_ns, partial(self._next, connection, due_ns))

    def _another(self, place: int) -> Connection:
        """A connection for a branch. The one used last is used first, since it is warm."""
        connection = self._idle.pop() if self._idle else self._sender.add_connection()
        connection.slot = place
        return connection


class OpenLoop:
    """Starts each arrival when it is due, on as many connections as necessary."""

    _sender: Sender

    def __init__(self, arrivals: Arrivals) -> None:
        self.source = self._arrivals = arrivals
        self.end_ns = arrivals.end_ns
        self.waiting: list[tuple[Connection, int]] = []
        self._idle: list[Connection] = []
        self._at_cap = False

    def begin(self, sender: Sender) -> None:
        self._sender = sender
        self._idle = list(reversed(sender.connections))
        if self._arrivals.next_ns is not None:
            sender.timers.at(self._arrivals.next_ns, self._on_arrival)

    def free(self, connection: Connection, exchange: Exchange, since_ns: int) -> None:
        self._idle.append(connection)
        if time.monotonic_ns() >= self.end_ns:
            self._give_up()
        elif self._at_cap:
            self._on_arrival()

    def ask_again(self) -> None:
        """Do nothing: a free connection gets no job."""

    def _on_arrival(self) -> None:
        self._at_cap = self._arrive()
        next_ns = self._arrivals.next_ns
        if next_ns is not None and not self._at_cap:
            self._sender.timers.at(next_ns, self._on_arrival)

    def _arrive(self) -> bool:
        """Start all arrivals that are due. Returns whether the cap held some of them back.

        The connection used last is used first, since it is warm.
        """
        sender, now = self._sender, time.monotonic_ns()
        outstanding = len(sender.connections) - len(self._idle)
        for arrival in self._arrivals.ready(now, outstanding):
            connection = self._idle.pop() if self._idle else sender.add_connection()
            sender.start(connection, arrival.job, arrival.due_ns)
        next_ns = self._arrivals.next_ns
        return next_ns is not None and next_ns <= now

    def _give_up(self) -> None:
        """Fail the arrivals that the cap held back until the end of the run."""
        now = time.monotonic_ns()
        for arrival in self._arrivals.rest():
            exchange = Exchange(arrival.job, -1, arrival.due_ns)
            exchange.fail("unfinished", "load.max_inflight held it back until the run's end", now)
            self._sender.leave_out(exchange)
