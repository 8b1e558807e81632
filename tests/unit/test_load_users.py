"""Users whose conversations have branches, without a network: what is due when, and on what."""

import pytest
from tests.unit.conversations import user

from mls.config.sections.run import Run
from mls.config.sections.workload import Durations, Workload
from mls.load.transport.connection import Connection
from mls.load.transport.exchange import Exchange
from mls.load.transport.pacing import Users
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.conversations.pauses import Pauses
from mls.load.workload.conversations.turns import Dialogue, Fork, Turn

THINK_NS = 1_000_000_000
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + (
    b'{"choices": [{"finish_reason": "stop", "message": {"content": "A"}}]}'
)
FORK, LEFT, RIGHT, JOIN = range(4)


class Wire:
    """A sender that takes down what it is to send. It has one place; time is told to it."""

    def __init__(self):
        self.timers = self
        self.connections = [Connection(0)]
        self.started = {}
        self.due = []

    def at(self, when_ns, action):
        self.due.append((when_ns, action))

    def run(self):
        due, self.due = self.due, []
        for _, action in sorted(due, key=lambda pair: pair[0]):
            action()

    def add_connection(self):
        self.connections.append(Connection(len(self.connections)))
        return self.connections[-1]

    def start(self, connection, job, scheduled_ns):
        assert connection.slot == 0
        self.started[job] = (connection, scheduled_ns)


class Jobs:
    """The first jobs of conversations of four turns."""

    exhausted = False

    def __init__(self):
        self._jobs = iter(range(0, 400, 4))

    def draw(self):
        return next(self._jobs)


def turn(text, delay_s=None, forks=()):
    return Turn([user(text)], [], delay_s, list(forks))


def users(delay_s=None):
    """(pacing, wire) of two branches and a join, with the first conversation's fork on its way."""
    fork = Fork(((turn("left"),), (turn("right", delay_s),)))
    dialogues = [Dialogue(n, (turn("fork", forks=[fork]), turn("join"))) for n in range(100)]
    workload = Workload(kind="conversation", file="f")
    prompts = make_prompts(Run(), workload, 1, Materials(dialogues=dialogues))
    pauses = Pauses(Durations(distribution="fixed", value=1.0), 1)
    pacing, wire = Users(Jobs(), [0], pauses, WorkloadBodies(Run(), "m", prompts)), Wire()
    pacing.begin(wire)
    wire.run()
    return pacing, wire


def answer(pacing, wire, job, at_ns, error=None):
    connection, scheduled_ns = wire.started[job]
    exchange = Exchange(job, 0, scheduled_ns)
    if error:
        exchange.fail(error, error, at_ns)
    else:
        exchange.status = 200
        exchange.reads = [(REPLY, b"", at_ns, 0)]
    pacing.free(connection, exchange, at_ns)
    wire.run()


def test_the_first_branch_has_the_places_connection_and_they_are_used_again():
    pacing, wire = users()
    for session in range(5):
        for number in (FORK, LEFT, RIGHT, JOIN):
            answer(pacing, wire, 4 * session + number, 100 * session + number)
        assert wire.started[4 * session + FORK][0] is wire.started[4 * session + LEFT][0]
        assert wire.started[4 * session + RIGHT][0] is wire.started[4 * session + JOIN][0]
    assert len(wire.connections) == 2


@pytest.mark.parametrize("order", [(LEFT, RIGHT), (RIGHT, LEFT)])
def test_a_join_is_due_after_the_reply_that_came_last_whichever_is_read_last(order):
    pacing, wire = users()
    answer(pacing, wire, FORK, 100)
    assert wire.started[LEFT][1] == wire.started[RIGHT][1] == 100 + THINK_NS
    at_ns = {LEFT: 5000, RIGHT: 7000}
    for number in order:
        assert JOIN not in wire.started
        answer(pacing, wire, number, at_ns[number])
    assert wire.started[JOIN][1] == 7000 + THINK_NS


@pytest.mark.parametrize("order", [(LEFT, RIGHT), (RIGHT, LEFT)])
def test_after_a_failure_the_next_conversation_is_due_once_all_lines_have_ended(order):
    pacing, wire = users()
    answer(pacing, wire, FORK, 100)
    for number in order:
        assert 4 not in wire.started
        answer(pacing, wire, number, 5000 + number, "timeout" if number == LEFT else None)
    assert JOIN not in wire.started
    assert wire.started[4][1] == 5000 + RIGHT + THINK_NS
    answer(pacing, wire, 4, 10_000)  # which goes on as if nothing had been
    assert {5, 6} <= wire.started.keys()


def test_a_reply_that_says_nothing_is_a_failure_too():
    pacing, wire = users()
    connection, _ = wire.started[FORK]
    exchange = Exchange(FORK, 0, 0)
    exchange.status = 500
    exchange.reads = [(b"HTTP/1.1 500 Oh\r\n\r\n", b"", 100, 0)]
    pacing.free(connection, exchange, 100)
    wire.run()
    assert sorted(wire.started) == [FORK, 4]


def test_a_turn_that_was_due_when_another_branch_failed_is_not_sent():
    """The right branch is due a second after the left one, which fails meanwhile."""
    pacing, wire = users(delay_s=2.0)
    connection, _ = wire.started[FORK]
    exchange = Exchange(FORK, 0, 0)
    exchange.status = 200
    exchange.reads = [(REPLY, b"", 100, 0)]
    pacing.free(connection, exchange, 100)
    (left_ns, left), (right_ns, right) = wire.due
    wire.due = []
    assert (left_ns, right_ns) == (100 + THINK_NS, 100 + 2 * THINK_NS)
    left()
    answer(pacing, wire, LEFT, left_ns + 500, "timeout")
    right()
    wire.run()
    assert sorted(wire.started) == [FORK, LEFT, 4]
    assert wire.started[4][1] == right_ns + THINK_NS
