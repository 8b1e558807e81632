"""Branches of conversations: how a file writes them, and which turns come after which."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.conversations import AGENT, read, says, user

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.context_length import check_files
from mls.load.workload.conversations.dialogues import read_dialogues
from mls.load.workload.conversations.turns import Dialogue, Fork, Turn


def bodies_of(dialogue, **keys):
    workload = Workload.model_validate({"kind": "conversation", "file": "f"} | keys)
    materials = Materials(dialogues=[dialogue])
    return WorkloadBodies(Run(), "m", make_prompts(Run(), workload, 1, materials))


def play(dialogue, order, **keys):
    """(contents of each job's request, replies in their order) of the first conversation.

    order: picks, of the jobs that are outstanding, the one that is answered next. The reply to job
    n is `r{n}`.
    """
    bodies, sent, replies = bodies_of(dialogue, **keys), {}, []
    outstanding = [0]
    while outstanding:
        for job in outstanding:
            said = orjson.loads(bodies.body(job))["messages"]
            sent[job] = [message["content"] for message in said]
        job = outstanding.pop(order(len(outstanding)))
        replies.append(job)
        due = [turn.job for turn in bodies.next_turns(job, f"r{job}")]
        assert not set(due) & sent.keys()
        outstanding += due
    return sent, replies


def test_turns_are_numbered_in_the_files_order_and_know_what_they_go_on_from(tmp_path):
    (dialogue,) = read(tmp_path / "d.jsonl", AGENT, history="dataset").rows
    steps = dialogue.steps
    assert [step.turn.messages[-1]["content"] for step in steps] == list("Q123456J7L")
    assert [step.branch for step in steps] == [None, 0, 0, 1, 2, 3, 1, None, 4, None]
    assert [step.previous for step in steps] == [None, 0, 1, 0, 3, 3, 3, 0, 7, 7]
    assert [step.depth for step in steps] == [0, 1, 2, 1, 2, 2, 2, 1, 2, 2]
    joins = {number: step.joins for number, step in enumerate(steps) if step.joins}
    assert joins == {6: (4, 5), 7: (2, 6)}
    assert [step.turn.delay_s for step in steps] == [None, 0.5, *[None] * 8]
    assert dialogue.size == Materials(dialogues=[dialogue]).turns == 10


def test_a_branch_says_all_that_was_said_before_it_and_the_main_line_nothing_of_it(tmp_path):
    (dialogue,) = read(tmp_path / "d.jsonl", AGENT, history="dataset").rows
    sent, _ = play(dialogue, lambda count: 0, history="dataset")
    assert sent[2] == ["S", "Q", "A", "1", "a", "2"]
    assert sent[5] == ["S", "Q", "A", "3", "c", "5"]
    assert sent[6] == ["S", "Q", "A", "3", "c", "6"]
    assert sent[7] == ["S", "Q", "A", "J"]
    assert sent[8] == ["S", "Q", "A", "J", "B", "7"]
    assert sent[9] == ["S", "Q", "A", "J", "B", "L"]


def test_the_servers_own_replies_of_branches_come_before_what_the_user_says(tmp_path):
    (dialogue,) = read(tmp_path / "d.jsonl", AGENT).rows
    sent, _ = play(dialogue, lambda count: count - 1)
    assert sent[6] == ["S", "Q", "r0", "3", "r3", "r4\n\nr5\n\n6"]
    assert sent[7] == ["S", "Q", "r0", "r2\n\nr6\n\nJ"]
    assert sent[9] == ["S", "Q", "r0", "r2\n\nr6\n\nJ", "r7", "L"]


def test_where_the_user_says_nothing_the_replies_are_a_message_of_their_own(tmp_path):
    task = {"role": "tool", "content": "done", "tool_call_id": "t"}
    fork = {"branches": [[user("1")], [user("2")]]}
    for between, contents in (([], []), ([task], ["done"])):
        row = [user("Q"), fork, *between, says("B"), user("R"), says("C")]
        (dialogue,) = read(tmp_path / "d.jsonl", row).rows
        sent, _ = play(dialogue, lambda count: 0)
        assert sent[3] == ["Q", "r0", *contents, "r1\n\nr2"]
        assert sent[4] == [*sent[3], "r3", "R"]


def test_branches_at_the_end_are_the_end(tmp_path):
    (dialogue,) = read(tmp_path / "d.jsonl", [user("Q"), {"branches": [[user("1")]]}]).rows
    assert [step.later for step in dialogue.steps] == [[1], []]


def test_nothing_waits_for_branches_in_the_background(tmp_path):
    fork = {"branches": [[user("1")], [user("2")]], "background": True}
    (dialogue,) = read(tmp_path / "d.jsonl", [user("Q"), fork, user("R")]).rows
    bodies = bodies_of(dialogue)
    assert [turn.job for turn in bodies.next_turns(0, "A")] == [1, 2, 3]


def test_what_is_said_before_branches_and_asks_nothing_is_in_each_line(tmp_path):
    late = {"role": "system", "content": "late", "delay_s": 2}
    row = [user("Q"), says("A"), late, {"branches": [[user("1")], [user("2")]]}, user("J")]
    (dialogue,) = read(tmp_path / "d.jsonl", row, history="dataset").rows
    sent, _ = play(dialogue, lambda count: 0, history="dataset")
    assert [sent[job][2:] for job in (1, 2, 3)] == [["late", "1"], ["late", "2"], ["late", "J"]]
    assert [step.turn.delay_s for step in dialogue.steps] == [None, 2, 2, 2]


def lines(deeper):
    forks = st.builds(
        Fork, st.lists(deeper, min_size=1, max_size=3).map(tuple), background=st.booleans()
    )
    turns = st.builds(lambda forks: Turn([user("")], [], None, forks), st.lists(forks, max_size=2))
    return st.lists(turns, min_size=1, max_size=3).map(tuple)


plain = st.lists(st.builds(lambda: Turn([user("")], [])), min_size=1, max_size=3).map(tuple)
trees = st.recursive(plain, lines, max_leaves=8).map(lambda turns: Dialogue(1, turns))


@given(trees, st.randoms(use_true_random=False))
def test_each_turn_is_sent_once_after_all_that_it_waits_for_whoever_is_answered_first(
    dialogue, random
):
    steps = dialogue.steps
    sent, replies = play(dialogue, random.randrange)
    assert sorted(sent) == sorted(replies) == list(range(len(steps))) == list(range(dialogue.size))
    place = {job: number for number, job in enumerate(replies)}
    for number, step in enumerate(steps):
        waits_for = {step.previous, *step.joins} - {None}
        assert all(place[each] < place[number] and each < number for each in waits_for)
        assert waits_for == {n for n, each in enumerate(steps) if number in each.later}
        ends = "\n\n".join([*(f"r{end}" for end in step.joins), ""])
        before = [] if step.previous is None else [*sent[step.previous], f"r{step.previous}"]
        assert sent[number] == [*before, ends]


@given(trees)
def test_jobs_of_sessions_are_apart_and_their_attributes_those_of_the_steps(dialogue):
    materials = Materials(dialogues=[Dialogue(1, (Turn([user("")], []),)), dialogue])
    workload = Workload(kind="conversation", file="f")
    prompts = make_prompts(Run(), workload, 3, materials)
    first = materials.turns
    for number, step in enumerate(dialogue.steps):
        prompt = prompts(first + number)
        attributes = prompt.attributes
        assert (attributes.session, attributes.turn) == (1, step.depth)
        assert attributes.branch == step.branch
        previous = None if step.previous is None else first + step.previous
        assert attributes.previous == previous
        for turn in prompt.later:
            assert first < turn.job < 2 * first
            assert first + number in (turn.previous, *turn.joins)


def nested(depth):
    return [
        user("Q"),
        says("A"),
        *([{"branches": [nested(depth - 1)]}, user("J")] if depth else []),
    ]


@pytest.mark.parametrize(
    "row, history, reason",
    [
        ([{"branches": [[user("1")]]}, user("Q")], "own", "message 1 has branches, and no turn is before them"),
        ([user("Q"), {"branches": [[user("1")]]}], "dataset", "message 2 has branches, and no reply is before them"),
        ([user("Q"), says("A"), {"branches": [[user("1")]]}, says("B")], "dataset", "message 4 follows branches, and nothing is said before it"),
        ([user("Q"), {"branches": []}], "own", "message 2 has branches that are no list of lists of messages"),
        ([user("Q"), {"branches": [user("1")]}], "own", "message 2 has branches that are no list of lists of messages"),
        ([user("Q"), {"branches": 2}], "own", "message 2 has branches that are no list of lists of messages"),
        ([user("Q"), {"branches": [[user("1")], [says("x")]]}], "own", "branch 2 of message 2 has no message of a user"),
        ([user("Q"), {"branches": [[user("1")]], "background": "yes"}], "own", "message 2 has a background that is neither true nor false"),
        ([user("Q"), {"branches": [[user("1"), user(" ")]]}], "own", "message 2 of branch 1 of message 2 is empty"),
        (nested(9), "own", "has branches more than 8 deep"),
    ],
)  # fmt: skip
def test_branches_that_can_not_be_had_are_named(tmp_path, row, history, reason):
    dialogues = read(tmp_path / "d.jsonl", AGENT, row, history=history)
    assert [dialogue.row for dialogue in dialogues.rows] == [1]
    assert "row 2" in dialogues.notes[0] and reason in dialogues.notes[0]
    assert read(tmp_path / "e.jsonl", nested(8)).rows[0].size == 17


def test_a_delay_that_is_none_is_named_within_its_branch(tmp_path):
    row = [user("Q"), {"branches": [[user("1")], [user("2", delay_s=-1)]]}]
    place = "in message 1 of branch 2 of message 2"
    with pytest.raises(UserError, match=f"row 1 of .* has delay_s -1 {place}"):
        read(tmp_path / "d.jsonl", row)


def test_a_tools_message_in_a_branch_goes_with_chat_completions_alone(tmp_path):
    tool = {"role": "tool", "content": "7", "tool_call_id": "t"}
    row = [user("Q"), says("A"), {"branches": [[tool, says("B")]]}]
    with pytest.raises(UserError, match=r"row 1 of .* has a tool's message"):
        read(tmp_path / "d.jsonl", row, run=Run(endpoint="/v1/messages"))
    assert read(tmp_path / "d.jsonl", row).rows[0].size == 2


class Words:
    """A server whose tokens are words, in slots of 20."""

    def tokenize(self, text):
        return len(text.split())


@pytest.mark.parametrize("words, fits", [(13, True), (14, False)])
def test_the_longest_line_of_a_conversation_has_to_fit_with_the_replies_in_it(
    tmp_path, monkeypatch, words, fits
):
    """Three words of its own, and of 2 × 2 tokens the replies to these turns."""
    monkeypatch.setattr(
        "mls.load.workload.context_length.snapshot", lambda api: {"ctx_per_slot": 20}
    )
    row = [user("a b c"), {"branches": [[user("w " * words)], [user("x")]]}, user("y")]
    (dialogue,) = read(tmp_path / "d.jsonl", row).rows
    assert dialogue.text.split() == ["a", "b", "c", *["w"] * words]
    assert sorted(ending.replies for ending in dialogue.endings) == [2, 2, 4]

    class Settings:
        workload = Workload(kind="conversation", file="f", output_tokens=2)
        run = Run()

    def check():
        check_files(Settings, None, None, [dialogue], Words())

    if fits:
        check()
    else:
        with pytest.raises(UserError, match="17 tokens, which with 2 × 2 of replies needs 21"):
            check()


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.floats())
junk = st.recursive(
    scalars,
    lambda deeper: st.one_of(
        st.lists(deeper, max_size=3), st.dictionaries(st.text(max_size=3), deeper, max_size=2)
    ),
    max_leaves=4,
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | junk},
    optional={
        "content": st.text(max_size=3) | junk,
        "tool_calls": junk,
        "name": junk,
        "delay_s": st.none() | st.floats(0, 1),
    },
)
entries = st.recursive(
    messages,
    lambda deeper: st.fixed_dictionaries(
        {"branches": st.lists(st.lists(deeper, max_size=3), max_size=3) | junk},
        optional={"background": st.booleans() | junk},
    ),
    max_leaves=12,
)


@given(st.lists(entries | junk, max_size=6), junk, st.sampled_from(["own", "dataset"]))
def test_whatever_a_row_holds_it_is_a_conversation_that_can_be_sent_or_is_named(
    tmp_path_factory, row, tools, history
):
    path = tmp_path_factory.getbasetemp() / "junk.jsonl"
    rows = [{"messages": AGENT}, {"messages": row, "tools": tools}]
    path.write_text("\n".join(map(json.dumps, rows)))
    keys = {"kind": "conversation", "file": str(path), "history": history}
    dialogues = read_dialogues(Workload.model_validate(keys), Run())
    assert len(dialogues.rows) + len(dialogues.notes) == 2
    for dialogue in dialogues.rows:
        sent, _ = play(dialogue, lambda count: 0, history=history)
        assert len(sent) == dialogue.size
