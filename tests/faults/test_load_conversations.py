"""Conversations of a file through the load generator: order, places, servers and pauses."""

import itertools
import json
from collections import defaultdict

import pytest
from tests.faults.driving import assert_good, harvest, spec
from tests.servers.misbehaving import TOKENS, Misbehaving

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.units import NS_PER_MS
from mls.load.workload.builder import Materials
from mls.load.workload.conversations.turns import Dialogue, Turn
from mls.protocol.request import Target

pytestmark = pytest.mark.timeout(60)
TURNS = [3, 1, 4, 2, 3, 1]
DELAY_MS, THINK_MS = 30, 10


def user(text):
    return [{"role": "user", "content": text}]


def dialogue(session, count):
    """The second turn has a delay of its own."""
    turns = (
        Turn(
            user(f"{session}/{turn}"),
            [{"role": "assistant", "content": f"reply {session}/{turn}"}],
            DELAY_MS / 1000 if turn == 1 else None,
        )
        for turn in range(count)
    )
    return Dialogue(session, tuple(turns))


def measure(servers, history, policy="round_robin"):
    """(records, messages by job) of six conversations on two places, which think between turns."""
    workload = Workload.model_validate(
        {
            "kind": "conversation",
            "file": "f",
            "history": history,
            "think_s": THINK_MS / 1000,
        }
    )
    run_spec = spec(
        [Target(server.url) for server in servers],
        Run(inflight=2, ranks=1, iters=len(TURNS), warmup=1, timeout_s=10),
        workload=workload,
        materials=Materials(dialogues=[dialogue(*each) for each in enumerate(TURNS)]),
        policy=policy,
    )
    requests = [request for server in servers for request in server.requests]
    assert requests == []
    records = harvest(run_spec).table.to_pylist()
    sent = {
        request.job: json.loads(request.body)["messages"]
        for server in servers
        for request in server.requests
    }
    return sorted(records, key=lambda row: row["job"]), sent


@pytest.mark.parametrize("history", ["own", "dataset"])
def test_each_conversation_has_its_own_turns_in_order_on_one_place(history):
    with Misbehaving() as server:
        records, sent = measure([server], history)
    sessions = defaultdict(list)
    for row in records:
        assert_good(row)
        sessions[row["session"]].append(row)
    assert [len(sessions[session]) for session in range(len(TURNS))] == TURNS
    own = "".join(TOKENS)
    for session, rows in sessions.items():
        assert [row["turn"] for row in rows] == list(range(len(rows)))
        assert len({row["slot"] for row in rows}) == 1
        for turn, row in enumerate(rows):
            said = [message["content"] for message in sent[row["job"]]]
            replies = [own if history == "own" else f"reply {session}/{n}" for n in range(turn)]
            assert said[0::2] == [f"{session}/{n}" for n in range(turn + 1)]
            assert said[1::2] == replies


def test_a_recorded_delay_takes_the_place_of_the_think_time():
    with Misbehaving() as server:
        records, _ = measure([server], "dataset")
    places = defaultdict(list)
    for row in records:
        places[row["slot"]].append(row)
    pauses = defaultdict(set)
    for rows in places.values():
        rows.sort(key=lambda row: row["scheduled_ns"])
        for before, after in itertools.pairwise(rows):
            free_ns = before["end_ns"] + before["after_done_ns"]
            pauses[after["turn"]].add((after["scheduled_ns"] - free_ns) // NS_PER_MS)
            assert after["start_ns"] >= after["scheduled_ns"]
    assert pauses == {0: {THINK_MS}, 1: {DELAY_MS}, 2: {THINK_MS}, 3: {THINK_MS}}


def test_conversations_of_a_file_stay_on_their_server():
    with Misbehaving() as one, Misbehaving() as two:
        records, _ = measure([one, two], "own", "sticky")
    servers = defaultdict(set)
    for row in records:
        assert_good(row)
        servers[row["session"]].add(row["server"])
    assert servers == {session: {session % 2} for session in range(len(TURNS))}
