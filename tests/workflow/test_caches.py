"""The prompt cache of the real engine: what prompts share is in it, by the engine's own count."""

import itertools
import json

import pytest
from tests.workflow.one_repeat import measure

pytestmark = pytest.mark.timeout(240)
PREFIX_TOKENS = 60


@pytest.mark.parametrize("cache", [False, True])
def test_a_shared_prefix_is_worth_its_length_to_the_cache(tmp_path, shallow_smollm2, cache):
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        run={"ranks": 1, "inflight": 1, "iters": 3, "max_tokens": 2, "cache_prompt": cache},
        workload={"kind": "shared_prefix", "prompt_tokens": 100, "prefix_tokens": PREFIX_TOKENS},
    )
    cached_tokens = [row["cached_tokens"] for row in rows]
    template = 40  # most tokens of the chat template before the prefix
    assert cached_tokens[0] < PREFIX_TOKENS
    if cache:
        assert all(
            PREFIX_TOKENS <= tokens <= PREFIX_TOKENS + template for tokens in cached_tokens[1:]
        )
        assert checks["cache_hits_as_possible"]["status"] == "pass"
    else:
        assert cached_tokens == [0] * 3
    assert checks["cache_as_asked"]["status"] == "pass"
    assert checks["prompts_as_asked"]["status"] == "pass"


@pytest.mark.parametrize("endpoint", ["/v1/completions", "/v1/chat/completions"])
def test_prompts_are_read_at_the_depth_asked_for(tmp_path, shallow_smollm2, endpoint):
    depth, new = 300, 64
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        run={"ranks": 1, "inflight": 1, "iters": 3, "warmup": 1, "max_tokens": 3}
        | {"endpoint": endpoint, "cache_prompt": True},
        workload={"kind": "depth", "depth": depth, "prompt_tokens": new},
    )
    assert {row["prompt_tokens"] for row in rows} == {depth + new}
    template = 40 if "chat" in endpoint else 1  # or the same first word by chance
    assert all(depth <= row["cached_tokens"] <= depth + template for row in rows)
    assert checks["depth_as_asked"]["status"] == checks["prompts_as_asked"]["status"] == "pass"
    assert checks["cache_hits_as_possible"]["status"] == "pass"
    assert "cache_as_asked" not in checks


def test_blocks_of_a_trace_are_worth_their_length_to_the_cache(tmp_path, shallow_smollm2):
    """One slot keeps the last prompt: of the next one it has the blocks that both begin with."""
    block, arrivals_ms = 48, 1500  # apart, so that one has ended when the next one comes
    prompts = [[1, 2, 3], [1, 2, 4], [1, 2, 4, 5], [1, 6], [7, 8, 9], [7, 8, 9, 10]]
    lengths = [len(ids) * block - 20 for ids in prompts]
    trace = tmp_path / "trace.jsonl"
    keys = ("timestamp", "input_length", "output_length", "hash_ids")
    arrivals = (arrivals_ms * at for at in range(len(prompts)))
    rows = zip(arrivals, lengths, [2] * len(prompts), prompts, strict=True)
    trace.write_text("\n".join(json.dumps(dict(zip(keys, row, strict=True))) for row in rows))
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        server={"parallel": 1},
        run={"ranks": 1, "inflight": 1, "max_tokens": 2, "cache_prompt": True},
        load={"kind": "trace", "file": str(trace)},
        workload={"kind": "blocks", "block_tokens": block, "prompt_tokens": "trace"},
    )
    rows.sort(key=lambda row: row["job"])
    assert [row["prompt_tokens"] for row in rows] == lengths
    for (before, now), row in zip(itertools.pairwise(prompts), rows[1:], strict=True):
        shared = sum(a == b for a, b in zip(before, now, strict=False))
        # the last block of the one before is 20 tokens short
        ideal = min(shared * block, len(before) * block - 20)
        assert row["ideal_cached_tokens"] == ideal  # of a cache for all of them, too
        assert abs(row["cached_tokens"] - ideal) < block, (row["job"], row["cached_tokens"], ideal)
    assert checks["cache_hits_as_possible"]["status"] == "pass", checks["cache_hits_as_possible"]
    assert checks["cache_as_asked"]["status"] == "pass"
    assert checks["prompts_as_asked"]["status"] == "pass"


@pytest.mark.parametrize(("slots", "status"), [(3, "pass"), (1, "warn")])
def test_sessions_of_agents_find_their_blocks_in_the_cache(
    tmp_path, shallow_smollm2, slots, status
):
    """An agent with two sub-agents at once: three contexts, of which one slot keeps the last."""
    block = 64

    def request(at, tokens, ids):
        return {"t": at, "type": "s", "in": tokens, "out": 2, "hash_ids": ids, "api_time": 0.5}

    def helper(at, *ids):
        own = [request(0, 140, list(ids[:2])), request(0.6, 200, list(ids))]
        return {"t": at, "type": "subagent", "duration_ms": 900, "requests": own}

    agent = {"block_size": block, "requests": [
        request(0, 150, [1, 2]), helper(0.6, 7, 8, 9), helper(0.6, 17, 18, 19),
        request(2.1, 230, [1, 2, 3]), request(2.6, 320, [1, 2, 3, 4, 5]),
    ]}  # fmt: skip
    path = tmp_path / "agents.jsonl"
    path.write_text("\n".join(json.dumps(agent) for _ in range(2)))
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        server={"parallel": slots, "ctx": 2048},
        run={"ranks": 1, "inflight": 1, "iters": 2, "cache_prompt": True, "endpoint": "/completion"},
        workload={"kind": "blocks", "file": str(path), "block_tokens": block,
                  "prompt_tokens": "trace", "output_tokens": "trace"},
    )  # fmt: skip
    for session in range(2):
        own = sorted((r for r in rows if r["session"] == session), key=lambda r: r["job"])
        assert [row["prompt_tokens"] for row in own] == [150, 140, 200, 140, 200, 230, 320]
        assert [row["ideal_cached_tokens"] for row in own] == [0, 0, 128, 0, 128, 128, 192]
        assert [row["branch"] for row in own] == [None, 0, 0, 1, 1, None, None]
        first, left, left_end, right, right_end, join, last = own
        assert left["start_ns"] < right["end_ns"] and right["start_ns"] < left["end_ns"]
        ends = [(first, left), (first, right), (left, left_end), (right, right_end), (join, last)]
        for before, after in [*ends, (left_end, join), (right_end, join)]:
            assert after["start_ns"] >= before["end_ns"]
        if slots == 3:
            for row in own:
                assert abs(row["cached_tokens"] - row["ideal_cached_tokens"]) < 4
    assert checks["cache_hits_as_possible"]["status"] == status, checks["cache_hits_as_possible"]
    assert checks["prompts_as_asked"]["status"] == checks["work_as_asked"]["status"] == "pass"
    sessions = json.loads((tmp_path / "out" / "run.json").read_text())["summary"]["sessions"]
    assert (sessions["total"], sessions["branches"]) == (2, 4)
    assert (sessions["anew_tokens"] < 1) == (slots == 3)


def test_later_turns_of_a_conversation_find_the_earlier_ones_in_the_cache(
    tmp_path, shallow_smollm2
):
    rows, _ = measure(
        tmp_path,
        shallow_smollm2,
        run={"ranks": 1, "inflight": 1, "iters": 2, "max_tokens": 6, "cache_prompt": True},
        workload={"kind": "conversation", "prompt_tokens": 60, "turns": 3},
    )
    assert [(row["session"], row["turn"]) for row in rows] == [
        (s, t) for s in (0, 1) for t in range(3)
    ]
    for before, after in itertools.pairwise(rows):
        if after["turn"]:
            assert after["prompt_tokens"] > before["prompt_tokens"] + 60
            assert after["cached_tokens"] >= before["prompt_tokens"]
            assert after["start_ns"] >= before["end_ns"]
        else:
            assert after["prompt_tokens"] == 60


@pytest.mark.parametrize(
    ("groups", "slots", "status"), [(2, 2, "pass"), (3, 1, "warn")], ids=["enough", "too few"]
)
def test_prefixes_are_in_a_cache_with_a_slot_for_each(
    tmp_path, shallow_smollm2, groups, slots, status
):
    """Without a template, whose beginning would bring all prompts to one slot."""
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        server={"parallel": slots, "ctx": 1024},
        run={"ranks": 1, "inflight": 1, "iters": 8, "max_tokens": 2}
        | {"endpoint": "/completion", "cache_prompt": True},
        workload={"kind": "shared_prefix", "prompt_tokens": 90, "prefix_tokens": PREFIX_TOKENS}
        | {"groups": groups},
    )
    assert checks["cache_hits_as_possible"]["status"] == status, checks["cache_hits_as_possible"]
    if status == "pass":
        for row in rows[groups:]:
            assert 0 <= row["cached_tokens"] - PREFIX_TOKENS < 4  # or the same word by chance


@pytest.mark.parametrize(
    ("model", "slots", "status"), [("smollm2", 2, "pass"), ("shallow_smollm2", 1, "warn")]
)
def test_conversations_are_in_a_cache_with_a_slot_for_each(tmp_path, request, model, slots, status):
    """All of the context but the last token of each reply, or the template's beginning alone.

    Two begin on two slots only while both are being read: else the template brings the second one to
    the first one's slot.
    """
    rows, checks = measure(
        tmp_path,
        request.getfixturevalue(model),
        server={"parallel": slots, "ctx": 2048},
        run={"ranks": 1, "inflight": 2, "iters": 2, "max_tokens": 12, "cache_prompt": True}
        | {"temperature": 0},
        workload={"kind": "conversation", "prompt_tokens": 60, "turns": 4},
    )
    verdict = checks["cache_hits_as_possible"]
    assert verdict["status"] == status, verdict
    result = json.loads((tmp_path / "out" / "run.json").read_text())
    assert result["workload"]["template"]["keeps_history"] is True
    cache = result["summary"]["cache"]
    if slots == 2:
        assert abs(cache["share"] - cache["ideal_share"]) < 16 * len(rows) / sum(
            row["prompt_tokens"] for row in rows
        )
    else:
        assert cache["share"] < cache["ideal_share"] / 2
    assert checks["cache_as_asked"]["status"] == "pass"


CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize("history", ["dataset", "own"])
def test_conversations_of_a_file_find_what_was_said_in_the_cache(
    tmp_path, shallow_smollm2, history
):
    """With an agent's tool calls and results, as OpenAI's messages have them."""
    talks = [
        [
            {"role": "system", "content": "You are an agent. " * 10},
            {"role": "user", "content": "How warm is it?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "20 degrees. " * 5, "delay_s": 0.05},
            {"role": "assistant", "content": "It is warm."},
            {"role": "user", "content": "And tomorrow?"},
        ],
        [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A model."}],
    ]
    path = tmp_path / "talks.jsonl"
    path.write_text("\n".join(json.dumps({"messages": talk}) for talk in talks))
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        run={"ranks": 1, "inflight": 1, "iters": 2, "max_tokens": 6, "cache_prompt": True},
        workload={"kind": "conversation", "file": str(path), "history": history},
    )
    assert all(row["error"] is None for row in rows), [row["error_text"] for row in rows]
    assert sorted(row["turn"] for row in rows) == [0, 0, 1, 2]
    for before, after in itertools.pairwise(rows):
        if after["turn"]:
            assert after["session"] == before["session"]
            assert after["prompt_tokens"] > before["prompt_tokens"]
            # the template ends a prompt with what begins the reply
            assert before["prompt_tokens"] - 8 <= after["cached_tokens"] < after["prompt_tokens"]
    assert checks["work_as_asked"]["status"] == "pass"
    assert checks["cache_as_asked"]["status"] == "pass"
    assert checks["cache_hits_as_possible"]["status"] == "pass", checks["cache_hits_as_possible"]


@pytest.mark.parametrize("history", ["dataset", "own"])
def test_branches_find_what_was_said_before_them_in_the_cache(tmp_path, shallow_smollm2, history):
    """On two slots, of which one has the fork's context: the other branch is on the other one."""

    def said(role, text):
        return {"role": role, "content": text}

    branches = [
        [said("user", f"Look after lamp {number}."), said("assistant", "It is on.")]
        for number in (1, 2)
    ]
    talk = [
        *(said("system", "You keep the lights of a harbour. " * 12), said("user", "Begin.")),
        *(said("assistant", "I ask two others."), {"branches": branches}),
        *(said("user", "What did they find?"), said("assistant", "All is well.")),
    ]
    path = tmp_path / "talks.jsonl"
    path.write_text("\n".join(json.dumps({"messages": talk}) for _ in range(2)))
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        server={"parallel": 2, "ctx": 2048},
        run={"ranks": 1, "inflight": 1, "iters": 2, "max_tokens": 16, "cache_prompt": True},
        workload={"kind": "conversation", "file": str(path), "history": history},
    )
    assert all(row["error"] is None for row in rows), [row["error_text"] for row in rows]
    assert [(row["turn"], row["branch"]) for row in rows] == 2 * [
        (0, None),
        (1, 0),
        (1, 1),
        (1, None),
    ]
    for fork, left, right, join in (rows[:4], rows[4:]):
        assert left["start_ns"] < right["end_ns"] and right["start_ns"] < left["end_ns"]
        assert join["start_ns"] > max(left["end_ns"], right["end_ns"])
        # the template ends a prompt with what begins the reply
        cached = max(left["cached_tokens"], right["cached_tokens"])
        assert fork["prompt_tokens"] - 8 <= cached < left["prompt_tokens"]
        assert fork["prompt_tokens"] - 8 <= join["cached_tokens"] < join["prompt_tokens"]
    assert checks["cache_as_asked"]["status"] == "pass"
