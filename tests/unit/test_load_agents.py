"""Traces of agents: sessions whose requests are sent one after another."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.block_prompts import BLOCK, CALIBRATION

from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.blocks.agents import read_agents
from mls.load.workload.blocks.sessions import SessionRows
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.conversations.turns import Dialogue, NextTurn, Turn


def request(tokens, ids, output=5, **keys):
    return {"type": "s", "model": "m", "in": tokens, "out": output, "hash_ids": ids} | keys


def agent(*requests, **keys):
    return {"id": "trace", "models": ["m"], "block_size": BLOCK, "requests": list(requests)} | keys


def row(session, tokens, ids, output=5, **keys):
    lengths = {"input_length": tokens, "output_length": output}
    return {"session_id": session, "hash_ids": ids} | lengths | keys


def workload(path, **keys):
    base = {"kind": "blocks", "file": str(path), "prompt_tokens": "trace", "block_tokens": BLOCK}
    return Workload.model_validate(base | {"output_tokens": "trace"} | keys)


@pytest.fixture
def read(tmp_path):
    def run(rows, count=None, name="agents.jsonl", **keys):
        path = tmp_path / name
        text = "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows)
        path.write_text(text)
        return read_agents(workload(path, **keys), count)

    return run


def sessions(trace):
    """Blocks of each request, by session."""
    ends = itertools.accumulate(map(len, trace.sessions.steps), initial=0)
    return [trace.blocks[begin:end] for begin, end in itertools.pairwise(ends)]


def pauses(trace):
    return [step.turn.delay_s for steps in trace.sessions.steps for step in steps]


def test_a_session_of_kv_cache_tester_is_its_requests_with_sub_agents_as_branches(read):
    trace = read(
        [
            agent(
                request(40, [1, 2], t=0.0, api_time=2.0),
                request(48, [1, 2, 3], t=10.0, api_time=1.0),
                {
                    "type": "subagent",
                    "t": 13.0,
                    "duration_ms": 5000,
                    "requests": [
                        request(32, [7, 8], t=0.5, api_time=1.0),
                        request(48, [7, 8, 9], t=3.5, think_time=0.25),
                    ],
                },
                request(64, [1, 2, 3, 4], t=20.0),
                request(64, [1, 2, 3, 4], t=21.5),
            )
        ]
    )
    assert trace.prompt_tokens.tolist() == [40, 48, 32, 48, 64, 64]
    assert trace.output_tokens.tolist() == [5] * 6
    # what the file says that requests took is no pause; the first one has none before it
    assert pauses(trace) == [None, 8.0, 2.0, 0.25, 2.0, 1.5]
    (steps,) = trace.sessions.steps
    assert [step.branch for step in steps] == [None, None, 0, 0, None, None]
    assert [step.previous for step in steps] == [None, 0, 1, 2, 1, 4]
    assert [step.joins for step in steps] == [(), (), (), (), (3,), ()]
    blocks = trace.blocks
    assert blocks[1][:2] == blocks[0][:2] and blocks[4][:3] == blocks[1]
    assert blocks[4] == blocks[5]
    assert len(blocks[0]) == 3  # 40 tokens: a last block of 8, which has no id
    assert blocks[0][2] != blocks[1][2]
    assert trace.notes == ()


def subagent(at, *requests, **keys):
    return {"type": "subagent", "t": at, "requests": list(requests)} | keys


def test_sub_agents_go_on_side_by_side_and_are_waited_for_unless_in_the_background(read):
    trace = read(
        [
            agent(
                subagent(
                    0, request(32, [9, 10], t=0)
                ),  # before the first request: the first itself
                request(32, [1, 2], t=1, api_time=1.0),
                subagent(3, request(32, [3, 4], t=0), duration_ms=9000),
                subagent(4, request(32, [5, 6], t=0), request(32, [5, 6], t=1), duration_ms=2000),
                subagent(5, request(32, [7, 8], t=0), status="async_launched"),
                subagent(6, request(0, [], t=0)),
                request(48, [1, 2, 3], t=12.5),
            )
        ]
    )
    (steps,) = trace.sessions.steps
    assert [step.branch for step in steps] == [None, None, 0, 1, 1, 2, None]
    assert [step.previous for step in steps] == [None, 0, 1, 1, 3, 1, 1]
    assert steps[-1].joins == (2, 4) and [step.depth for step in steps][-1] == 2
    # each pauses since the reply before it began, the last one since the last sub-agent's end
    assert pauses(trace) == [None, 1.0, 1.0, 2.0, 1.0, 3.0, 0.5]
    assert "1 requests without tokens" in trace.notes[0]


def test_ids_are_a_sessions_own_unless_their_scope_is_global(read):
    one, other = sessions(read([agent(request(32, [1, 2], t=0))] * 2))
    assert set(one[0]).isdisjoint(other[0])
    one, other = sessions(read([agent(request(32, [1, 2], t=0), hash_id_scope="global")] * 2))
    assert one == other


def test_rows_with_a_session_are_put_together_in_the_order_of_their_first(read):
    trace = read(
        [
            row("b", 32, [1, 2], timestamp=1000),
            row("a", 16, [1], timestamp=1500),
            row("b", 48, [1, 2, 3], timestamp=4000),
            row("a", 32, [1, 9], delay=250),
            row("b", 64, [1, 2, 3, 4]),
        ]
    )
    assert [[len(each) for each in session] for session in sessions(trace)] == [[2, 3, 4], [1, 2]]
    assert pauses(trace) == [None, 3.0, None, None, 0.25]
    assert trace.row.tolist() == [1, 3, 5, 2, 4]
    assert trace.notes == ()


def test_rows_that_do_not_go_on_are_told_of(read):
    trace = read([row(1, 32, [1, 2]), row(1, 32, [5, 6]), row(1, 48, [5, 6, 7])])
    (note,) = trace.notes
    assert "1 rows don't begin with all blocks of the row before" in note


def test_one_session_may_be_a_json_document_of_its_own(read):
    assert len(read(agent(request(32, [1, 2], t=0)), name="trace_0001.json").blocks) == 1


def test_long_pauses_and_long_prompts_are_cut(read):
    talk = agent(*(request(BLOCK * n, list(range(n)), t=100.0 * n) for n in range(1, 6)))
    trace = read([talk], max_pause_s=7)
    assert pauses(trace)[1:] == [7.0] * 4
    trace = read([talk], max_prompt_tokens=3 * BLOCK)
    assert (
        trace.prompt_tokens.max() == 3 * BLOCK
        and "1 sessions or sub-agents end before" in trace.notes[0]
    )
    with pytest.raises(UserError, match="no session that begins with a prompt of at most"):
        read([talk], max_prompt_tokens=BLOCK - 1)


def test_only_the_sessions_that_are_sent_are_read(read):
    good = agent(request(32, [1, 2], t=0))
    assert len(read([good, good, {"requests": "?"}], count=2).sessions) == 2


def test_requests_without_tokens_are_left_out_and_counted(read):
    trace = read(
        [agent(request(32, [1, 2], t=0), request(0, [], t=1), request(32, [1, 2], 0, t=2))]
    )
    assert len(trace.blocks) == 1 and "2 requests without tokens" in trace.notes[0]


@pytest.mark.parametrize(
    "rows, message",
    [
        ([], "has no rows"),
        ([{"timestamp": 0, "input_length": 4}], "row 1 .* has neither requests.*load.file"),
        ([agent(request(32, [1], t=0))], "row 1 .* has a request of 32 tokens with 1 hash_ids; expected 2"),
        ([agent(request(32, "no", t=0))], "row 1 .* has hash_ids 'no'; expected a list of ids"),
        ([agent(request("x", [1], t=0))], "row 1 .* has in 'x'; expected a whole number"),
        ([agent(request(32, [1, 2], t=-1))], "row 1 .* has t -1; expected a number of at least 0"),
        ([agent(request(32, [1, 2], t=0)), {"requests": 3}], "row 2 .* has requests 3; expected a list"),
        ([agent(request(64, [1], t=0), block_size=64)], "workload.block_tokens: row 1 .* set it to"),
        ([agent()], "has no session with a request"),
        ([row(None, 32, [1, 2])], "row 1 .* has session_id None"),
        ([row(1, 32, None)], "row 1 .*messages go with workload.kind conversation"),
        ([row(1, 32, [1, 2], delay="soon")], "row 1 .* has delay 'soon'"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_as_expected_is_one_sentence(read, rows, message):
    with pytest.raises(UserError, match=message):
        read(rows)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 20))
def test_each_request_of_each_session_is_sent_once_and_in_order(lengths, count):
    rows = SessionRows(
        tuple(tuple(Dialogue(0, (Turn([], []),) * length).steps) for length in lengths)
    )
    jobs = list(rows.jobs(count))
    numbers = [rows.place(job)[2] for job in jobs]
    assert numbers == list(range(len(jobs)))  # sessions again begin with the first one
    assert len(jobs) == sum(lengths[session % len(lengths)] for session in range(count))
    for job in jobs:
        session, number, _ = rows.place(job)
        assert number < len(rows.of(session)) == lengths[session % len(lengths)]


def test_a_sessions_requests_follow_each_other_and_have_all_of_their_own_prompt(read):
    trace = read(
        [
            agent(request(32, [1, 2], t=0), request(48, [1, 2, 3], 7, t=2)),
            agent(request(32, [1, 2], t=0)),
        ]
    )
    prompts = make_prompts(Run(), workload("x.jsonl"), 1, Materials(CALIBRATION, trace=trace))
    first, second, other = prompts(0), prompts(1), prompts(2)
    assert second.text.startswith(first.text) and not other.text.startswith(first.text[:40])
    assert first.later == (NextTurn(1, 0, 2.0),) and not (second.later or other.later)
    assert (first.attributes.previous, second.attributes.previous) == (None, 0)
    places = [(each.attributes.session, each.attributes.turn) for each in (first, second, other)]
    assert places == [(0, 0), (0, 1), (1, 0)]
    assert second.attributes.output_tokens == 7
    assert prompts(4).text == first.text  # the third session is the first one again
    bodies = WorkloadBodies(Run(), None, prompts)
    bodies.body(0)
    assert bodies.next_turns(0, "a reply that the trace has already") == [NextTurn(1, 0, 2.0)]
    assert json.loads(bodies.body(1))["messages"] == [{"role": "user", "content": second.text}]
    assert bodies.next_turns(1, "the last one") == []


def config(**keys):
    base = {
        "name": "agents",
        "models": {"server": {"path": "model.gguf"}},
        "workload": {"kind": "blocks", "file": "a.jsonl", "prompt_tokens": "trace"},
    }
    return parse_config(base | keys)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"load": {"kind": "trace", "file": "t.csv"}}, "sessions of workload.kind blocks go with load.kind closed"),
        ({"run": {"cancel": {"share": 0.5, "after_s": 1}}}, "run.cancel: a conversation would end"),
        ({"run": {"transport": "requests"}}, "run.transport: .* goes with epoll"),
        ({"workload": {"kind": "blocks", "prompt_tokens": "trace", "max_pause_s": 1}},
         "max_pause_s goes with kind blocks with file"),
        ({"workload": {"kind": "blocks", "file": "a", "prompt_tokens": "trace", "cache_tokens": 9}},
         "cache_tokens goes with kind blocks, not with kind blocks with file"),
        ({"workload": {"kind": "blocks", "prompt_tokens": "trace"}}, "go with load.kind trace"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_sessions_is_refused(keys, message):
    with pytest.raises(UserError, match=message):
        cells(config(**keys))
