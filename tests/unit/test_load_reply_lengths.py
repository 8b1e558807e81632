"""Replies as long as those of a file's conversations."""

import orjson
import pytest
from tests.unit.conversations import AGENT, read, says, user

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.context_length import check_files
from mls.load.workload.conversations.reply_lengths import with_reply_lengths


def words(text):
    return len(text.split())


def lengths(path, *row):
    (dialogue,) = read(path, row, history="dataset").rows
    return [step.turn.output_tokens for step in with_reply_lengths(dialogue, words).steps]


def test_each_turn_has_the_length_of_the_files_reply_to_it(tmp_path):
    row = (user("Q"), says("a b c"), user("R"), says("d"), says("e f"), user("S"))
    assert lengths(tmp_path / "d.jsonl", *row) == [3, 3, None]


def test_a_call_of_a_tool_is_as_long_as_its_name_and_arguments(tmp_path):
    call = {"id": "not written", "function": {"name": "look", "arguments": '{"a": 1}'}}
    told = says("I look.") | {"tool_calls": [call]}
    silent = {"role": "assistant", "content": None, "tool_calls": [call, "odd"]}
    tool = {"role": "tool", "content": "7"}
    row = (user("Q"), told, tool, silent, user("R"), {"role": "assistant", "tool_calls": 3})
    call_words = words(orjson.dumps(call["function"]).decode())
    assert lengths(tmp_path / "d.jsonl", *row) == [2 + call_words, call_words, 1]


def test_turns_of_branches_have_theirs(tmp_path):
    """And all else of the conversation stays as it is."""
    (dialogue,) = read(tmp_path / "d.jsonl", AGENT, history="dataset").rows
    long = with_reply_lengths(dialogue, lambda text: 10 + ord(text) - ord("A"))
    by_user = {step.turn.messages[-1]["content"]: step.turn.output_tokens for step in long.steps}
    assert by_user == {
        key: 10 + ord(reply) - ord("A")
        for key, reply in zip("Q123456J7L", "AabcdefBgC", strict=True)
    }
    assert with_reply_lengths(long, lambda text: 1) == with_reply_lengths(dialogue, lambda text: 1)
    assert [step.previous for step in long.steps] == [step.previous for step in dialogue.steps]
    assert [fork.background for step in long.steps for fork in step.turn.forks] == [
        False,
        False,
        True,
    ]


def test_it_is_asked_for_and_a_turn_without_a_reply_has_max_tokens(tmp_path):
    row = [user("Q"), says("a b c"), user("R")]
    keys = {"history": "dataset", "output_tokens": "dataset"}
    (dialogue,) = read(tmp_path / "d.jsonl", row, **keys).rows
    run, workload = Run(max_tokens=9), Workload(kind="conversation", file="f", **keys)
    materials = Materials(dialogues=[with_reply_lengths(dialogue, words)])
    bodies = WorkloadBodies(run, "m", make_prompts(run, workload, 1, materials))
    assert orjson.loads(bodies.body(0))["max_tokens"] == 3
    bodies.next_turns(0, "x")
    assert orjson.loads(bodies.body(1))["max_tokens"] == 9
    assert bodies.attributes(0).output_tokens == 3


def test_a_server_without_a_tokenizer_is_one_sentence(tmp_path):
    (dialogue,) = read(tmp_path / "d.jsonl", [user("Q"), says("A")], history="dataset").rows
    with pytest.raises(UserError, match="output_tokens: dataset needs a server with /tokenize"):
        with_reply_lengths(dialogue, lambda text: None)


@pytest.mark.parametrize("context, fits", [(45, True), (44, False)])
def test_the_last_reply_counts_with_its_own_length(tmp_path, monkeypatch, context, fits):
    """Of 40 words, after 5; not `run.max_tokens`, of 64."""
    monkeypatch.setattr(
        "mls.load.workload.context_length.snapshot", lambda api: {"ctx_per_slot": context}
    )
    row = [user("a b"), says("c"), user("d e"), says("w " * 40)]
    (dialogue,) = read(tmp_path / "d.jsonl", row, history="dataset").rows

    class Settings:
        workload = Workload(kind="conversation", file="f", history="dataset")
        run = Run(max_tokens=64)

    class Api:
        tokenize = staticmethod(words)

    def check():
        check_files(Settings, None, None, [with_reply_lengths(dialogue, words)], Api())

    if fits:
        check()
    else:
        with pytest.raises(UserError, match="5 tokens, which with 1 × 40 of replies needs 45"):
            check()
