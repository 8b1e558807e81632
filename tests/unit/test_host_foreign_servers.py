"""Which processes are a server's: the rule, applied to tables of processes."""

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
    """A table of processes: init, a terminal's shell, this run below another, and the entries.

    entries: (id, parent, session) of each further process.
    """
    common = {
        INIT: Entry(INIT, 0, session=INIT),
        SHELL: Entry(SHELL, INIT, session=TERMINAL, terminal=True),
        80: Entry(80, INIT, session=80, terminal=True),
        OURS: Entry(OURS, 80, session=80, terminal=True),
        91: Entry(91, OURS, session=80, terminal=True),
    }
    return common | {
        pid: Entry(pid, parent, session=session, terminal=session == TERMINAL)
        for pid, parent, session in entries
    }


def origin_of(processes, *holders):
    return origin(processes, holders, OURS)


def test_one_process_and_what_it_started():
    processes = tree((20, SHELL, TERMINAL), (21, 20, TERMINAL), (22, SHELL, TERMINAL))
    assert origin_of(processes, 20) == Origin(tops=frozenset({20}), perhaps=frozenset({20}))
    assert below(processes, origin_of(processes, 20).tops) == {20, 21}


def test_workers_that_hold_the_socket_of_their_master():
    processes = tree(
        (20, SHELL, TERMINAL), (21, 20, TERMINAL), (22, 20, TERMINAL), (23, 20, TERMINAL)
    )
    assert origin_of(processes, 20, 21, 22).tops == {20}


def test_the_master_of_workers_that_each_have_a_socket():
    processes = tree(
        (20, SHELL, TERMINAL), (21, 20, TERMINAL), (22, 20, TERMINAL), (23, 20, TERMINAL)
    )
    assert origin_of(processes, 21, 22) == Origin(tops=frozenset({20}), perhaps=frozenset({20}))
    # two servers on one port, started one by one, have no master
    processes = tree((21, SHELL, TERMINAL), (22, SHELL, TERMINAL), (23, SHELL, TERMINAL))
    assert origin_of(processes, 21, 22).tops == {21, 22}


def test_what_runs_beside_it_is_perhaps_its_own():
    processes = tree((20, SHELL, TERMINAL), (21, 20, TERMINAL), (22, 20, TERMINAL))
    assert origin_of(processes, 21) == Origin(tops=frozenset({21}), perhaps=frozenset({20}))


def test_a_service_is_climbed_to_its_own_first_process():
    processes = tree((40, INIT, ELSEWHERE), (41, 40, ELSEWHERE), (42, 40, ELSEWHERE))
    assert origin_of(processes, 41).perhaps == {40}


def test_what_this_run_is_below_is_never_the_servers():
    """A test runner or a script may have started both."""
    processes = tree((81, 80, 80), (82, 81, 80), (83, 80, 80))
    assert origin_of(processes, 82) == Origin(tops=frozenset({82}), perhaps=frozenset({81}))
    # where it is the server itself, its own time is the server's, and its children's may be
    itself = origin_of(processes, 80)
    assert itself == Origin(alone=frozenset({80}), perhaps=frozenset({80}))


def test_a_server_that_is_the_first_process_of_a_container_does_not_own_its_orphans():
    processes = tree((2, INIT, INIT), (3, INIT, 3))
    processes[80] = Entry(80, 0, session=80)  # started from outside the container
    assert origin_of(processes, INIT) == Origin(
        frozenset({2}), frozenset({INIT}), frozenset({INIT})
    )


@st.composite
def tables(draw):
    sizes = st.integers(2, 30)
    processes = {INIT: Entry(INIT, 0, session=INIT)}
    for pid in range(2, draw(sizes) + 2):
        parent = draw(st.sampled_from(sorted(processes)))
        session = draw(st.sampled_from([pid, processes[parent].session]))
        processes[pid] = Entry(pid, parent, session=session, terminal=draw(st.booleans()))
    return processes


@given(processes=tables(), data=st.data())
def test_no_process_is_at_once_the_servers_and_not(processes, data):
    pids = sorted(processes)
    ours = data.draw(st.sampled_from(pids[1:]))
    holders = data.draw(st.sets(st.sampled_from(pids), min_size=1))
    its = origin(processes, holders, ours)
    surely = below(processes, its.tops) | its.alone
    assert holders <= surely
    assert surely <= below(processes, its.perhaps) | its.alone
    # of this run's ancestors, only those that listen are the server's
    assert surely & {*above(processes, ours)[1:]} <= holders


def test_the_host_is_seen_as_it_is():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        processes = table()
        assert above(processes, child.pid)[:2] == [child.pid, os.getpid()]
        assert child.pid in below(processes, [os.getpid()])
        assert processes[child.pid].session == os.getsid(0)
        child.communicate(b"\n")


class Life:
    """Processes of one tree that begin, work and end."""

    def __init__(self):
        self.entries = {1: Entry(1, 0)}
        self.cpu_s = 0.0

    def work(self, pid, s):
        entry = self.entries[pid]
        self.entries[pid] = Entry(
            pid, entry.parent, pid, own_s=entry.own_s + s, waited_s=entry.waited_s
        )
        self.cpu_s += s

    def begin(self, pid):
        self.entries[pid] = Entry(pid, 1, pid)

    def end(self, pid, wait):
        child, first = self.entries.pop(pid), self.entries[1]
        if wait:
            waited_s = first.waited_s + child.own_s
            self.entries[1] = Entry(1, 0, first.started_s, own_s=first.own_s, waited_s=waited_s)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["work", "begin", "end", "look"]), st.integers(2, 5), st.integers(1, 9)
    )
)


@given(steps=STEPS, wait=st.booleans())
def test_time_neither_vanishes_with_a_process_nor_runs_backwards(steps, wait):
    life, counter, last = Life(), CpuCounter(), 0.0
    for step, pid, s in steps:
        if step == "begin" and pid not in life.entries:
            life.begin(pid)
        elif step == "end" and pid in life.entries:
            life.end(pid, wait)
        elif step == "work" and pid in life.entries:
            life.work(pid, s)
        elif step == "look":
            now = counter.add(life.entries, life.entries)
            assert last <= now <= life.cpu_s
            last = now
    if wait:
        assert counter.add(life.entries, life.entries) == pytest.approx(life.cpu_s)
