"""Whole conversations of a file: their turns, what is said before each, and bad rows."""

import json

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.conversations.dialogues import read_dialogues
from mls.load.workload.conversations.turns import Dialogue, Turn
from mls.load.workload.datasets import choose, read_dataset

CALL = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
AGENT = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "Q"},
    {"role": "assistant", "content": None, "tool_calls": CALL},
    {"role": "tool", "tool_call_id": "c1", "content": "7", "delay_s": 1.5},
    {"role": "tool", "tool_call_id": "c2", "content": "", "delay_s": 0.5},
    {"role": "assistant", "content": "A"},
    {"role": "user", "content": "R"},
    {"role": "assistant", "content": "B"},
]
SHAREGPT = [("gpt", "Hello."), ("human", "Q"), ("gpt", "A"), ("human", "R"), ("gpt", "B")]
WILDCHAT = {
    "conversation_hash": "x",
    "model": "m",
    "conversation": [
        {"content": text, "role": role, "language": "English", "toxic": False}
        for role, text in (("user", "Q"), ("assistant", "A"), ("user", "R"), ("assistant", "B"))
    ],
}


def load(path, rows, run=None, **keys):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    workload = Workload.model_validate({"kind": "conversation", "file": str(path)} | keys)
    return read_dialogues(workload, run or Run()), workload


def talk(*pairs):
    return [{"from": role, "value": text} for role, text in pairs]


def said(turns):
    return [
        ([m["content"] for m in turn.messages], [m["content"] for m in turn.reply])
        for turn in turns
    ]


def conversation(dialogues, replies, **keys):
    """The messages of each request of the first conversation, where the server says `replies`."""
    run = Run(max_tokens=9)
    workload = Workload.model_validate({"kind": "conversation", "file": "f"} | keys)
    prompts = make_prompts(run, workload, 1, Materials(dialogues=dialogues))
    bodies = WorkloadBodies(run, "m", prompts)
    job, requests, turns = 0, [], []
    for reply in replies:
        requests.append(orjson.loads(bodies.body(job))["messages"])
        due = bodies.next_turns(job, reply)
        turns += due
        if not due:
            break
        (turn,) = due
        job = turn.job
    return requests, turns


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": talk(*SHAREGPT)},
        {"messages": [{"role": r, "content": t} for r, t in SHAREGPT]},
        WILDCHAT,
    ],
)
def test_sharegpt_openai_and_wildchat_have_the_same_turns(tmp_path, row):
    dataset, _ = load(tmp_path / "d.jsonl", [row], history="dataset")
    assert said(dataset.rows[0].turns) == [(["Q"], ["A"]), (["R"], ["B"])]
    assert dataset.notes == ()


AIPERF = [
    {"role": "system", "text": "S"},
    {"text": "Q"},
    {"text": "R", "delay": 1500, "output_length": 7},
]


def test_each_of_aiperfs_turns_waits_for_a_reply(tmp_path):
    row = {"session_id": "s", "turns": AIPERF}
    dataset, _ = load(tmp_path / "d.jsonl", [row])
    assert said(dataset.rows[0].turns) == [(["S", "Q"], []), (["R"], [])]
    assert [turn.delay_s for turn in dataset.rows[0].turns] == [None, 1.5]
    with pytest.raises(UserError, match=r"row 1 of .* has turns without replies.*history to own"):
        load(tmp_path / "d.jsonl", [row], history="dataset")
    workload = Workload(kind="dataset", file=str(tmp_path / "d.jsonl"))
    assert read_dataset(workload).rows[0].text == "S\n\nQ"


@pytest.mark.parametrize(
    "turns", ["", None, [], ["Q"], [{"text": ""}], [{"text": "Q", "role": "x"}]]
)
def test_turns_that_are_none_make_a_row_unusable(tmp_path, turns):
    good = {"turns": AIPERF}
    dataset, _ = load(tmp_path / "d.jsonl", [good, {"turns": turns}, good])
    assert [dialogue.row for dialogue in dataset.rows] == [1, 3]


def test_parquet_with_empty_keys_is_read_alike(tmp_path):
    pq.write_table(pa.Table.from_pylist([{"messages": AGENT}]), tmp_path / "d.parquet")
    keys = {"kind": "conversation", "file": str(tmp_path / "d.parquet"), "history": "dataset"}
    in_parquet = read_dialogues(Workload.model_validate(keys), Run()).rows
    in_json, _ = load(tmp_path / "d.jsonl", [{"messages": AGENT}], history="dataset")
    assert in_parquet == in_json.rows


def test_results_of_tools_are_turns_of_their_own_after_the_longest_delay(tmp_path):
    dataset, _ = load(tmp_path / "d.jsonl", [{"messages": AGENT}], history="dataset")
    turns = dataset.rows[0].turns
    assert said(turns) == [(["S", "Q"], [None]), (["7", ""], ["A"]), (["R"], ["B"])]
    assert [turn.delay_s for turn in turns] == [None, 1.5, None]
    requests, nexts = conversation(dataset.rows, ["x", "y", "z"], history="dataset")
    sent = [{k: v for k, v in message.items() if k != "delay_s"} for message in AGENT]
    assert requests == [sent[:2], sent[:5], sent[:7]]
    assert [turn.delay_s for turn in nexts] == [1.5, None]


def test_the_servers_own_replies_take_the_place_of_the_datasets(tmp_path):
    dataset, _ = load(tmp_path / "d.jsonl", [{"messages": AGENT}])
    requests, _ = conversation(dataset.rows, ["x", "y", "z"], system="left out")
    roles = [message["role"] for message in requests[-1]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "assistant", "user"]
    own = [message["content"] for message in requests[-1] if message["role"] == "assistant"]
    assert own == ["x", "y"] and requests[-1][:5] == requests[1]
    assert requests[0][0]["content"] == "S"


def test_a_system_message_of_the_config_comes_first_where_the_row_has_none():
    dialogues = [Dialogue(1, (Turn([{"role": "user", "content": "Q"}], []),) * 2)]
    requests, _ = conversation(dialogues, ["x", "y"], system="Be brief.")
    assert [m["content"] for m in requests[1]] == ["Be brief.", "Q", "x", "Q"]


@pytest.mark.parametrize(
    "pairs, turns",
    [
        ([("human", "Q")], [(["Q"], [])]),
        ([("human", "Q"), ("human", "R"), ("gpt", "A")], [(["Q", "R"], ["A"])]),
        ([("human", "Q"), ("gpt", "A"), ("gpt", "B")], [(["Q"], ["A", "B"])]),
        ([("human", "Q"), ("gpt", "A"), ("system", "S")], [(["Q"], ["A"])]),
        (
            [("human", "Q"), ("gpt", "A"), ("system", "S"), ("gpt", "B"), ("human", "R")],
            [(["Q"], ["A", "S", "B"]), (["R"], [])],
        ),
        (
            [("human", "Q"), ("function_call", "f()"), ("observation", "7"), ("gpt", "A")],
            [(["Q"], ["f()"]), (["7"], ["A"])],
        ),
    ],
)  # fmt: skip
def test_a_turn_is_what_is_said_between_two_replies(tmp_path, pairs, turns):
    dataset, _ = load(tmp_path / "d.jsonl", [{"conversations": talk(*pairs)}], history="dataset")
    assert said(dataset.rows[0].turns) == turns


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 2**60), st.booleans())
def test_each_job_is_a_turn_of_one_session_whatever_the_others_have(counts, seed, replace):
    dialogues = [
        Dialogue(
            n, tuple(Turn([{"role": "user", "content": f"{n}/{t}"}], []) for t in range(count))
        )
        for n, count in enumerate(counts)
    ]
    workload = Workload(kind="conversation", file="f", replace=replace)
    materials = Materials(dialogues=dialogues)
    prompts = make_prompts(Run(), workload, seed, materials)
    seen = set()
    for session in range(len(counts)):
        job = session * materials.turns
        turn, row = 0, int(prompts(job).text.partition("/")[0])
        assert replace or row == session
        while True:
            prompt = prompts(job)
            assert prompt.text == f"{row}/{turn}" and job not in seen
            assert (prompt.attributes.session, prompt.attributes.turn) == (session, turn)
            seen.add(job)
            if not prompt.later:
                break
            job, turn = job + 1, turn + 1
        assert turn + 1 == counts[row]


def test_conversations_are_chosen_by_all_that_the_last_turn_says(tmp_path):
    rows = [{"conversations": talk(("human", "q " * n), ("gpt", "a " * 50), ("human", "r"))} for n in (1, 20)]  # fmt: skip
    lengths = {}
    for history in ("own", "dataset"):
        dataset, workload = load(
            tmp_path / "d.jsonl", rows, history=history, max_prompt_tokens=60, replace=True
        )
        drawn = choose(
            dataset.path, dataset.rows, workload, 1, None, lambda text: len(text.split())
        )
        lengths[history] = sorted(len(row.text.split()) for row in drawn)
    assert lengths == {"own": [2, 21], "dataset": [52]}


UNUSABLE = {
    "empty": ([], "conversations is empty"),
    "one-sided": (talk(("gpt", "A")), "conversations has no message of a user"),
    "odd role": (talk(("human", "Q"), ("narrator", "…")), "a message has the role 'narrator'"),
    "empty later": (talk(("human", "Q"), ("gpt", "A"), ("human", " ")), "message 3 is empty"),
    "empty reply": (talk(("human", "Q"), ("gpt", ""), ("human", "R")), "message 2 is empty"),
    "image": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}],
        "message 1 has parts other than text",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_row_is_left_out_and_its_reason_named(tmp_path, name):
    cell, reason = UNUSABLE[name]
    good = {"conversations": talk(*SHAREGPT)}
    rows = [good, {"conversations": cell}, good]
    dataset, _ = load(tmp_path / "d.jsonl", rows, history="dataset")
    assert [dialogue.row for dialogue in dataset.rows] == [1, 3]
    assert f"(the first: row 2, {reason})" in dataset.notes[0]


def test_an_empty_reply_does_no_harm_where_it_is_not_sent(tmp_path):
    dataset, _ = load(tmp_path / "d.jsonl", [{"conversations": UNUSABLE["empty reply"][0]}])
    assert said(dataset.rows[0].turns) == [(["Q"], []), (["R"], [])]


@pytest.mark.parametrize("delay", ["soon", -1, True, float("inf"), [1]])
def test_a_delay_that_is_none_is_one_sentence_with_its_row(tmp_path, delay):
    bad = [*talk(("human", "Q"), ("gpt", "A")), {"from": "human", "value": "R", "delay_s": delay}]
    rows = [{"conversations": talk(*SHAREGPT)}, {"conversations": bad}]
    with pytest.raises(UserError) as error:
        load(tmp_path / "d.jsonl", rows)
    assert f"row 2 of {tmp_path / 'd.jsonl'} has delay_s {delay!r} in message 3" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("endpoint", ["/v1/messages", "/v1/responses"])
def test_messages_of_tools_go_with_chat_completions_alone(tmp_path, endpoint):
    rows = [{"messages": AGENT[:2]}, {"messages": AGENT}]
    with pytest.raises(
        UserError, match=r"row 2 of .* has a tool's message, .* not with " + endpoint
    ):
        load(tmp_path / "d.jsonl", rows, Run(endpoint=endpoint))
    dataset, _ = load(tmp_path / "d.jsonl", rows[:1], Run(endpoint=endpoint))
    assert len(dataset.rows) == 1


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def bodies_of_rows(rows, **run):
    workload = Workload(kind="conversation", file="f")
    own = Run(**run)
    prompts = make_prompts(own, workload, 1, Materials(dialogues=rows))
    bodies = WorkloadBodies(own, "m", prompts)
    return [orjson.loads(bodies.body(session * len(rows[0].turns))) for session in range(len(rows))]


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL])])
def test_tools_of_a_row_are_sent_with_each_of_its_turns_and_no_other(tmp_path, tools):
    dataset, workload = load(
        tmp_path / "d.jsonl", [{"messages": AGENT, "tools": tools}, {"messages": AGENT}]
    )
    first, second = bodies_of_rows(dataset.rows)
    assert first["tools"] == [TOOL] and "tools" not in second
    bodies = WorkloadBodies(
        Run(), "m", make_prompts(Run(), workload, 1, Materials(dialogues=dataset.rows))
    )
    bodies.body(0)
    bodies.next_turns(0, "x")
    assert orjson.loads(bodies.body(1))["tools"] == [TOOL]


@pytest.mark.parametrize("own", [[], [{"type": "own"}], None])
def test_tools_of_the_config_take_the_place_of_a_rows(tmp_path, own):
    dataset, _ = load(tmp_path / "d.jsonl", [{"messages": AGENT, "tools": [TOOL]}])
    (body,) = bodies_of_rows(dataset.rows, request_extra={"tools": own})
    assert body.get("tools") == own


@pytest.mark.parametrize("tools", [None, [], "", " "])
def test_a_row_may_have_no_tools(tmp_path, tools):
    dataset, _ = load(tmp_path / "d.jsonl", [{"messages": AGENT, "tools": tools}])
    assert dataset.rows[0].tools is None and dataset.notes == ()


@pytest.mark.parametrize(
    "tools, reason",
    [
        ("look()", "tools is a text that is no JSON"),
        (3, "tools is no list of objects"),
        (["look"], "tools is no list of objects"),
        ('{"look": 1}', "tools is no list of objects"),
    ],
)
def test_tools_that_are_none_make_a_row_unusable(tmp_path, tools, reason):
    rows = [{"messages": AGENT}, {"messages": AGENT, "tools": tools}]
    dataset, _ = load(tmp_path / "d.jsonl", rows)
    assert f"row 2, {reason})" in dataset.notes[0] and len(dataset.rows) == 1


def test_tools_go_with_chat_completions_alone(tmp_path):
    rows = [{"messages": AGENT[:2], "tools": [TOOL]}]
    with pytest.raises(UserError, match=r"row 1 of .* has tools, which go with /v1/chat/comp"):
        load(tmp_path / "d.jsonl", rows, Run(endpoint="/v1/messages"))


@pytest.mark.parametrize("value", ["\ud800", 2**64])
def test_what_no_request_can_hold_makes_a_row_unusable(tmp_path, value):
    """Python reads both, and a request with either can't be built, which would end the run."""
    call = [*AGENT[:2], {"role": "assistant", "content": "A", "tool_calls": [{"id": value}]}]
    rows = [{"messages": AGENT}, {"messages": AGENT, "tools": [{"a": value}]}]
    for row, place in ((rows[1], "tools"), ({"messages": call}, "message 3")):
        dataset, _ = load(tmp_path / "d.jsonl", [rows[0], row], history="dataset")
        assert f"row 2, {place} has what can't be sent as JSON" in dataset.notes[0]
