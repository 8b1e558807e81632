"""Reasoning, content and tool calls of a reply, however servers send them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.replies import ThinkTags
from mls.protocol.completion import read_reply
from mls.protocol.replies.reply import Reply

CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": ""}}
ARGUMENTS = {"index": 0, "function": {"arguments": '{"a": 1}'}}


def read(deltas: Sequence[dict[str, Any]], tags: ThinkTags = "none", **usage: Any) -> Reply:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage})
    pieces = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    body = [*zip([*pieces, b"data: [DONE]\n\n"], range(len(pieces) + 1), strict=True)]
    return read_reply(200, True, body, think_tags=tags)


def written(text: Sequence[str], tags: ThinkTags = "both") -> Reply:
    return read([{"content": piece} for piece in text], tags)


@pytest.mark.parametrize(
    "thoughts",
    [
        [{"reasoning": "Hm"}, {"reasoning": ", so."}],  # vLLM, gpt-oss
        [{"role": "assistant", "content": ""}, {"reasoning": "Hm"}, {"reasoning": ", so."}],
        [{"reasoning_content": "Hm"}, {"reasoning_content": ", so."}],  # SGLang, llama.cpp
        [{"content": None, "reasoning_content": each} for each in ("Hm", ", so.")],  # DeepSeek
        [{"reasoning": t, "reasoning_content": t, "content": ""} for t in ("Hm", ", so.")],
        [{"content": [{"type": "thinking", "thinking": t}]} for t in ("Hm", ", so.")],  # Mistral
    ],
)
def test_reasoning_has_the_kind_that_servers_give_it(thoughts: list[dict[str, Any]]) -> None:
    reply = read([*thoughts, {"content": "\n\n"}, {"content": "Yes"}, {"content": "."}])
    assert reply.content == "Hm, so.\n\nYes."
    assert reply.reasoning == {0: 2, 1: 5}
    assert reply.first_answer == 3  # Blanks after a thought are no answer
    assert "".join(reply.answer) == "\n\nYes."


def test_a_reply_without_reasoning_answers_with_its_first_token() -> None:
    for text in (["\n", "Yes"], ["Yes"]):
        reply = written(text, "none")
        assert (reply.first_answer, reply.reasoning) == (0, {})
        assert written(text).first_answer == 0


def test_a_chunk_that_ends_a_thought_may_begin_the_answer() -> None:
    reply = read([{"reasoning": "Hm"}, {"reasoning": ".", "content": "Yes"}, {"content": "."}])
    assert (reply.reasoning, reply.first_answer, reply.text[1]) == ({0: 2, 1: 1}, 1, ".Yes")


def test_a_tool_call_is_an_answer() -> None:
    calls = [{"tool_calls": [CALL]}, {"tool_calls": [ARGUMENTS]}]
    for tags, thought in (("none", {"reasoning": "Hm"}), ("both", {"content": "<think>Hm"})):
        reply = read([thought, *calls], tags)
        assert (reply.first_answer, reply.call_chunks) == (1, {1, 2})
        assert [*reply.reasoning] == [0]
    assert read(calls).first_answer == 0


@pytest.mark.parametrize(
    "deltas", [[{"reasoning": "Hm"}, {"reasoning_content": ", so"}, {"content": "\n"}], []]
)
def test_a_thought_to_the_end_has_no_answer(deltas: list[dict[str, Any]]) -> None:
    assert read(deltas).first_answer is None


@pytest.mark.parametrize(
    ("tags", "text", "reasoning", "first"),
    [
        ("both", ["<think>", "Hm", "</think>", "\n\n", "Yes"], {0: 7, 1: 2, 2: 8}, 4),
        ("both", ["<th", "ink>H", "m</", "think", ">Y", "es"], {0: 3, 1: 5, 2: 3, 3: 5, 4: 1}, 4),
        ("both", ["\n", "<think>Hm</think>Yes"], {1: 17}, 1),
        ("both", ["<think>", "Hm", ", so"], {0: 7, 1: 2, 2: 4}, None),
        ("both", ["<think></think>", "Yes"], {0: 15}, 1),
        ("both", ["Yes", "<think>", "Hm</think>", "No"], {1: 7, 2: 10}, 0),
        ("both", ["Hm</think>", "Yes"], {}, 0),
        ("closing", ["Hm", "</thi", "nk>", "Yes"], {0: 2, 1: 5, 2: 3}, 3),
        ("closing", ["Hm</think>Yes", "<think>Hm</think>"], {0: 10, 1: 17}, 0),
        ("closing", ["Hm", ", so"], {0: 2, 1: 4}, None),
        ("closing", [], {}, None),
        ("none", ["<think>", "Hm</think>"], {}, 0),
    ],
)
def test_tags_in_the_text_are_read_where_the_config_says_so(
    tags: ThinkTags, text: list[str], reasoning: dict[int, int], first: int | None
) -> None:
    reply = written(text, tags)
    assert (reply.reasoning, reply.first_answer) == (reasoning, first)
    assert reply.content == "".join(text)


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_a_reply_in_one_piece_has_the_kinds_as_well(key: str) -> None:
    message = {"role": "assistant", key: "Hm", "content": "Yes", "tool_calls": [CALL]}
    whole = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    reply = read_reply(200, False, [(whole, 0)])
    assert (reply.reasoning, reply.first_answer, reply.call_chunks) == ({0: 2}, 0, {0})
    silent = json.dumps({"choices": [{"message": {key: "Hm"}, "finish_reason": "length"}]}).encode()
    assert read_reply(200, False, [(silent, 0)]).first_answer is None
    text = json.dumps({"choices": [{"text": "<think>Hm</think>{}"}]}).encode()
    reply = read_reply(200, False, [(text, 0)], think_tags="both")
    assert (reply.reasoning, reply.answer) == ({0: 17}, ["{}"])


def test_tokens_of_reasoning_are_the_servers_count() -> None:
    def counted(tokens: Any, *deltas: dict[str, Any]) -> int | None:
        details = {"reasoning_tokens": tokens}
        usage = {"completion_tokens": 9, "completion_tokens_details": details}
        return read(deltas, **usage).reasoning_tokens

    assert counted(7, {"reasoning": "Hm"}, {"content": "Yes"}) == 7
    assert counted(7, {"content": "Yes"}) == 7  # Hidden
    assert counted(0, {"content": "Yes"}) == 0
    assert counted(0, {"reasoning": "Hm"}) is None  # It doesn't count them
    assert counted(None, {"content": "Yes"}) is None


LETTERS = st.text(st.sampled_from("ab \n"), max_size=6)
TAGGED = st.lists(LETTERS | st.sampled_from(["<think>", "</think>"]), max_size=8).map("".join)


@st.composite
def splits(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(TAGGED)
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=12))
    edges = sorted({0, len(text), *cuts})
    return text, [text[begin:end] for begin, end in pairwise(edges)]


@given(splits(), st.sampled_from(["both", "closing"]))
def test_any_split_of_a_text_into_chunks_has_the_same_kinds(
    split: tuple[str, list[str]], tags: ThinkTags
) -> None:
    text, pieces = split
    by_character, reply = written(text, tags), written(pieces, tags)
    assert sum(reply.reasoning.values()) == len(by_character.reasoning)
    assert all(0 < count <= len(pieces[i]) for i, count in reply.reasoning.items())
    assert reply.answer == by_character.answer
    place, owners = by_character.first_answer, [*accumulate(map(len, pieces))]
    if by_character.reasoning and place is not None:
        place = next(i for i, end in enumerate(owners) if place < end)
    assert reply.first_answer == place


@given(st.lists(st.tuples(st.sampled_from(["reasoning", "content"]), LETTERS), max_size=9))
def test_no_answer_comes_before_the_first_token(parts: list[tuple[str, str]]) -> None:
    reply = read([{kind: text} for kind, text in parts])
    texts = [(kind, text) for kind, text in parts if text]
    assert reply.reasoning == {
        i: len(text) for i, (kind, text) in enumerate(texts) if kind == "reasoning"
    }
    says = [i for i, (kind, text) in enumerate(texts) if kind == "content" and text.strip()]
    expected = says[:1] if reply.reasoning else [*range(len(texts))][:1]
    assert [reply.first_answer] == (expected or [None])
