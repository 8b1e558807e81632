"""Branches of conversations through the load generator: side by side, joined, failed, routed."""

import json
from collections import defaultdict
from random import Random

import pytest
from tests.faults.driving import assert_good, harvest, spec
from tests.servers.misbehaving import TOKENS, Misbehaving, good

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.units import NS_PER_MS
from mls.load.workload.builder import Materials
from mls.load.workload.conversations.turns import Dialogue, Fork, Turn
from mls.protocol.request import Target

pytestmark = pytest.mark.timeout(60)
SESSIONS, THINK_MS, DELAY_MS, REPLY_S = 4, 10, 40, 0.05
FORK, LEFT, LEFT_ON, RIGHT, THIRD, JOIN, LAST = range(7)
"""Jobs of a session, by the file's order: the left branch has two turns, the others one each."""


def turn(text, delay_s=None, forks=()):
    return Turn([{"role": "user", "content": text}], [], delay_s, list(forks))


def dialogue(row, background=False, delay_s=DELAY_MS / 1000):
    branches = (turn("left"), turn("left on", delay_s)), (turn("right"),), (turn("third"),)
    forks = [Fork(branches, background)]
    return Dialogue(row, (turn("fork", forks=forks), turn("join"), turn("last")))


def slow(talk, request):
    talk.server.over.wait(REPLY_S)
    good(talk, request)


def measure(servers, *forms, policy="round_robin", inflight=2):
    """(records by job, messages by job) of four conversations. forms: of `dialogue`."""
    run_spec = spec(
        [Target(server.url) for server in servers],
        Run(inflight=inflight, ranks=1, iters=SESSIONS, warmup=1, timeout_s=10),
        workload=Workload(kind="conversation", file="f", think_s=THINK_MS / 1000),
        materials=Materials(dialogues=[dialogue(row, *forms) for row in range(SESSIONS)]),
        policy=policy,
    )
    records = harvest(run_spec).table.to_pylist()
    sent = {
        request.job: [message["content"] for message in json.loads(request.body)["messages"]]
        for server in servers
        for request in server.requests
    }
    return {row["job"]: row for row in records}, sent


def free_ns(row):
    return row["end_ns"] + row["after_done_ns"]


def overlap(one, other):
    return one["start_ns"] < other["end_ns"] and other["start_ns"] < one["end_ns"]


def test_branches_overlap_after_the_fork_and_the_join_waits_for_the_last_of_them():
    with Misbehaving(default=slow) as server:
        records, sent = measure([server])
    assert len(records) == 7 * SESSIONS
    reply = "".join(TOKENS)
    ends = "\n\n".join([reply] * 3)
    for first in range(0, 7 * SESSIONS, 7):
        rows = [records[first + number] for number in range(7)]
        for row in rows:
            assert_good(row)
        assert [row["turn"] for row in rows] == [0, 1, 2, 1, 1, 1, 2]
        assert [row["branch"] for row in rows] == [None, 0, 0, 1, 2, None, None]
        previous = [row["previous_job"] for row in rows]
        assert previous == [None, *(first + job for job in (FORK, LEFT, FORK, FORK, FORK, JOIN))]
        assert len({row["slot"] for row in rows}) == 1
        for one, other in ((LEFT, RIGHT), (LEFT, THIRD), (RIGHT, THIRD)):
            assert overlap(rows[one], rows[other])
        for branch in (LEFT, RIGHT, THIRD):
            waited_ns = rows[branch]["scheduled_ns"] - free_ns(rows[FORK])
            assert waited_ns // NS_PER_MS == THINK_MS
        waited_ns = rows[LEFT_ON]["scheduled_ns"] - free_ns(rows[LEFT])
        assert waited_ns // NS_PER_MS == DELAY_MS
        last_ns = max(map(free_ns, rows[LEFT:JOIN]))
        assert (rows[JOIN]["scheduled_ns"] - last_ns) // NS_PER_MS == THINK_MS
        assert rows[JOIN]["start_ns"] >= rows[JOIN]["scheduled_ns"]
        assert sent[first + LEFT_ON] == ["fork", reply, "left", reply, "left on"]
        assert sent[first + RIGHT] == ["fork", reply, "right"]
        assert sent[first + JOIN] == ["fork", reply, f"{ends}\n\njoin"]
        assert sent[first + LAST] == [*sent[first + JOIN], reply, "last"]


def test_a_place_takes_its_next_conversation_once_all_lines_have_ended():
    """In the background, the left branch is the last to end."""
    with Misbehaving(default=slow) as server:
        records, sent = measure([server], True, inflight=1)
    for first in range(0, 7 * SESSIONS, 7):
        rows = [records[first + number] for number in range(7)]
        assert overlap(rows[LEFT], rows[JOIN])
        assert sent[first + JOIN] == ["fork", "".join(TOKENS), "join"]
        ends_ns = max(map(free_ns, rows))
        if (after := records.get(first + 7)) is not None:
            assert (after["scheduled_ns"] - ends_ns) // NS_PER_MS == THINK_MS


def test_connections_are_no_more_than_lines_at_once_and_are_used_again():
    with Misbehaving(default=slow) as server:
        measure([server], inflight=1)
    assert server.connections == 3
    with Misbehaving(default=slow) as server:
        records, _ = measure([server], True, inflight=1)
    assert server.connections == 4
    opened = [row["job"] // 7 for row in records.values() if row["connected_ns"]]
    assert opened == [0, 0, 0]


def refuse(talk, request):
    """At once, while the other branches are being answered."""
    talk.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("number", [LEFT, RIGHT, THIRD])
def test_a_branch_that_fails_ends_its_conversation_and_no_other(number):
    with Misbehaving({7 + number: refuse}, default=slow) as server:
        records, _ = measure([server], inflight=1)
    assert records[7 + number]["error"] == "http_500"
    in_second = [job - 7 for job in records if 7 <= job < 14]
    assert in_second == [FORK, LEFT, RIGHT, THIRD]
    for row in records.values():
        if row["job"] != 7 + number:
            assert_good(row)
    assert len(records) == 7 * (SESSIONS - 1) + 4
    ends_ns = max(records[7 + job]["end_ns"] for job in in_second)
    assert records[14]["start_ns"] > ends_ns


def test_a_turn_that_is_due_is_not_sent_once_another_branch_has_failed():
    """The left branch waits for 1 s; the right one fails within that."""

    def refuse_late(talk, request):
        talk.server.over.wait(0.3)
        refuse(talk, request)

    with Misbehaving({RIGHT: refuse_late}, default=slow) as server:
        records, _ = measure([server], False, 1.0, inflight=1)
    assert [job for job in records if job < 7] == [FORK, LEFT, RIGHT, THIRD]
    waited_ns = records[7]["scheduled_ns"] - free_ns(records[LEFT])
    assert waited_ns // NS_PER_MS == 1000 + THINK_MS  # as long as it would have taken
    assert len(records) == 7 * (SESSIONS - 1) + 4


def test_all_lines_of_a_conversation_stay_on_their_server():
    with Misbehaving(default=slow) as one, Misbehaving(default=slow) as two:
        records, _ = measure([one, two], policy="sticky")
    servers = defaultdict(set)
    for row in records.values():
        assert_good(row)
        servers[row["session"]].add(row["server"])
    assert servers == {session: {session % 2} for session in range(SESSIONS)}


def test_a_server_that_goes_away_in_branches_ends_the_run():
    def vanish(talk, request):
        talk.server.vanish()

    with Misbehaving({LEFT: vanish}, default=slow) as server:
        records, _ = measure([server], inflight=1)
    assert {row["session"] for row in records.values() if row["error"] is None} == {0}
    assert all(row["error"] for row in records.values() if row["job"] != FORK)


def random_line(random, depth):
    """One to three turns, with up to three branches after each, two deep."""
    turns = []
    for _ in range(random.randint(1, 3)):
        forks = [
            Fork(
                tuple(random_line(random, depth - 1) for _ in range(random.randint(1, 3))),
                random.random() < 0.3,
            )
            for _ in range(random.choice([0, 0, 1, 2]) if depth else 0)
        ]
        turns.append(turn("?", random.choice([None, 0.0, 0.02]), forks))
    return tuple(turns)


@pytest.mark.parametrize("failing", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_conversations_of_any_form_run_to_their_ends(seed, failing):
    """Eight places with forty conversations: each turn once, after all that it waits for."""
    random = Random(seed)
    dialogues = [Dialogue(row, random_line(random, 2)) for row in range(40)]
    materials = Materials(dialogues=dialogues)
    jobs = [
        session * materials.turns + number
        for session, each in enumerate(dialogues)
        for number in range(each.size)
    ]
    bad = {job: refuse for job in jobs if random.random() < failing}
    run = Run(inflight=8, ranks=1, iters=40, warmup=0, timeout_s=20)
    workload = Workload(kind="conversation", file="f")
    with Misbehaving(bad) as server:
        run_spec = spec([Target(server.url)], run, workload=workload, materials=materials)
        records = {row["job"]: row for row in harvest(run_spec).table.to_pylist()}
    assert sorted(server.jobs) == sorted(records) and len(set(server.jobs)) == len(server.jobs)
    assert set(records) <= set(jobs)
    for session, each in enumerate(dialogues):
        first = session * materials.turns
        rows = {n: records[first + n] for n in range(each.size) if first + n in records}
        failed = {number for number, row in rows.items() if row["error"]}
        assert failed or len(rows) == each.size
        assert len({row["slot"] for row in rows.values()}) == 1
        for number, step in enumerate(each.steps):
            if number in rows and step.previous is not None:
                for before in (step.previous, *step.joins):
                    assert before not in failed
                    assert rows[number]["scheduled_ns"] >= rows[before]["end_ns"]
    assert bool(bad) == any(row["error"] for row in records.values())
