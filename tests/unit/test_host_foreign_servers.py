"""Which processes are a server's: the rule of climbing, on tables of processes."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.host.usage.foreign_servers import Origin, origin
from mls.host.usage.processes import CpuCounter, Entry, above, below, table

INIT, SHELL, OURS = 1, 10, 90
TERMINAL, ELSEWHERE = 10, 40  # sessions


def tree(*entries):
    """(id, parent, session) of each, besides init, a terminal's shell, and this run below another."""
    known = {
        INIT: Entry(INIT, 0, session=INIT),
        SHELL: Entry(SHELL, INIT, session=TERMINAL, terminal=True),
        80: Entry(80, INIT, session=80, terminal=True),
        OURS: Entry(OURS, 80, session=80, terminal=True),
        91: Entry(91, OURS, session=80, terminal=True),
    }
    return known | {
        pid: Entry(pid, parent, session=session, terminal=session == TERMINAL)
        for pid, parent, session in entries
    }


def origin_of(known, *holders):
    return origin(known, holders, OURS)


def test_one_process_and_what_it_started():
    known = tree((20, SHELL, TERMINAL), (21, 20, TERMINAL), (22, SHELL, TERMINAL))
    assert origin_of(known, 20) == Origin(tops=frozenset({20}), perhaps=frozenset({20}))
    assert below(known, origin_of(known, 20).tops) == {20, 21}


def test_workers_that_hold_the_socket_of_their_master():
    known = tree((20, SHELL, TERMINAL), (21, 20, TERMINAL), (22, 20, TERMINAL), (23, 20, TERMINAL))
    assert origin_of(known, 20, 21, 22).tops == {20}


def test_the_master_of_workers_that_each_have_a_socket():
    known = tree((20, SHELL, TERMINAL), (21, 20, TERMINAL), (22, 20, TERMINAL), (23, 20, TERMINAL))
    assert origin_of(known, 21, 22) == Origin(tops=frozenset({20}), perhaps=frozenset({20}))
    # two servers on one port, started one by one, have no master
    known = tree((21, SHELL, TERMINAL), (22, SHELL, TERMINAL), (23, SHELL, TERMINAL))
    assert origin_of(known, 21, 22).tops == {21, 22}


def test_what_runs_beside_it_is_perhaps_its_own():
    known = tree((20, SHELL, TERMINAL), (21, 20, TERMINAL), (22, 20, TERMINAL))
    assert origin_of(known, 21) == Origin(tops=frozenset({21}), perhaps=frozenset({20}))


def test_a_service_is_climbed_to_its_own_first_process():
    known = tree((40, INIT, ELSEWHERE), (41, 40, ELSEWHERE), (42, 40, ELSEWHERE))
    assert origin_of(known, 41).perhaps == {40}


def test_what_this_run_is_below_is_never_the_servers():
    """A test runner, or a script, that started both."""
    known = tree((81, 80, 80), (82, 81, 80), (83, 80, 80))
    assert origin_of(known, 82) == Origin(tops=frozenset({82}), perhaps=frozenset({81}))
    # it is the server itself: its own time is the server's, and what it started may be
    itself = origin_of(known, 80)
    assert itself == Origin(alone=frozenset({80}), perhaps=frozenset({80}))


def test_a_server_that_is_the_first_process_of_a_container_does_not_own_its_orphans():
    known = tree((2, INIT, INIT), (3, INIT, 3))
    known[80] = Entry(80, 0, session=80)  # came in from outside
    assert origin_of(known, INIT) == Origin(frozenset({2}), frozenset({INIT}), frozenset({INIT}))


@st.composite
def tables(draw):
    sizes = st.integers(2, 30)
    known = {INIT: Entry(INIT, 0, session=INIT)}
    for pid in range(2, draw(sizes) + 2):
        parent = draw(st.sampled_from(sorted(known)))
        session = draw(st.sampled_from([pid, known[parent].session]))
        known[pid] = Entry(pid, parent, session=session, terminal=draw(st.booleans()))
    return known


@given(known=tables(), data=st.data())
def test_no_process_is_at_once_the_servers_and_not(known, data):
    pids = sorted(known)
    ours = data.draw(st.sampled_from(pids[1:]))
    holders = data.draw(st.sets(st.sampled_from(pids), min_size=1))
    its = origin(known, holders, ours)
    surely = below(known, its.tops) | its.alone
    assert holders <= surely
    assert surely <= below(known, its.perhaps) | its.alone
    # of what this run is below, only what itself listens is the server's
    assert surely & {*above(known, ours)[1:]} <= holders


def test_the_host_is_seen_as_it_is():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        known = table()
        assert above(known, child.pid)[:2] == [child.pid, os.getpid()]
        assert child.pid in below(known, [os.getpid()])
        assert known[child.pid].session == os.getsid(0)
        child.communicate(b"\n")


class Life:
    """Processes of one tree, as they come, work, and end."""

    def __init__(self):
        self.known = {1: Entry(1, 0)}
        self.used = 0.0

    def work(self, pid, s):
        one = self.known[pid]
        self.known[pid] = Entry(pid, one.parent, pid, own_s=one.own_s + s, waited_s=one.waited_s)
        self.used += s

    def begin(self, pid):
        self.known[pid] = Entry(pid, 1, pid)

    def end(self, pid, waited):
        gone, first = self.known.pop(pid), self.known[1]
        if waited:
            waited_s = first.waited_s + gone.own_s
            self.known[1] = Entry(1, 0, first.started_s, own_s=first.own_s, waited_s=waited_s)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["work", "begin", "end", "look"]), st.integers(2, 5), st.integers(1, 9)
    )
)


@given(steps=STEPS, waited=st.booleans())
def test_time_neither_vanishes_with_a_process_nor_runs_backwards(steps, waited):
    life, spent, last = Life(), CpuCounter(), 0.0
    for what, pid, s in steps:
        if what == "begin" and pid not in life.known:
            life.begin(pid)
        elif what == "end" and pid in life.known:
            life.end(pid, waited)
        elif what == "work" and pid in life.known:
            life.work(pid, s)
        elif what == "look":
            now = spent.add(life.known, life.known)
            assert last <= now <= life.used
            last = now
    if waited:
        assert spent.add(life.known, life.known) == pytest.approx(life.used)
