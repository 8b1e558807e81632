"""Replies of servers, in every form that the probe may meet."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.server.reply import Completion, events, joined, parse_metrics, whole


def stream(*lines: str) -> Completion | str | None:
    return joined(events(line.encode() for line in lines))


def data(chunk: object) -> str:
    return f"data: {json.dumps(chunk)}"


def delta(content: str | None, **more: object) -> str:
    return data({"choices": [{"delta": {"content": content}, "finish_reason": None}], **more})


def test_streamed_chat_is_joined_and_counts_only_chunks_with_content() -> None:
    got = stream(
        ": ping",
        delta(None),
        delta("He"),
        "",
        "event: message",
        delta(""),
        delta("llo"),
        data({"choices": [{"delta": {}, "finish_reason": "length"}]}),
        data({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        "data: [DONE]",
        delta("never"),
    )
    assert isinstance(got, Completion)
    assert (got.content, got.chunks, got.finish_reason) == ("Hello", 2, "length")
    assert (got.prompt_tokens, got.completion_tokens) == (3, 2)
    assert got.streamed


@pytest.mark.parametrize(
    ("reply", "content"),
    [
        ({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}, "a"),
        ({"choices": [{"message": {"content": None, "reasoning_content": "r"}}]}, "r"),
        ({"choices": [{"text": "b", "finish_reason": "stop"}]}, "b"),
        ({"content": "c", "stop": True, "stop_type": "limit"}, "c"),
        ({"choices": [{"message": {"content": ""}}]}, ""),
    ],
)
def test_replies_in_one_piece(reply: dict[str, object], content: str) -> None:
    got = whole(reply)
    assert isinstance(got, Completion)
    assert got.content == content
    assert not got.streamed


@pytest.mark.parametrize("reply", [None, [], "x", {}, {"choices": []}, {"status": "ok"}])
def test_what_is_not_a_completion(reply: object) -> None:
    assert whole(reply) is None


def test_a_stream_without_choices_is_not_a_completion() -> None:
    assert stream("<html>", data({"hello": 1})) is None


def test_error_in_mid_stream_is_its_text() -> None:
    assert stream(delta("a"), data({"error": {"message": "slot lost", "code": 500}})) == "slot lost"


def test_llama_cpp_timings_stand_in_for_usage() -> None:
    got = whole({"content": "x", "timings": {"cache_n": 4, "prompt_n": 6, "predicted_n": 2}})
    assert isinstance(got, Completion)
    assert (got.prompt_tokens, got.completion_tokens, got.cached_tokens) == (10, 2, 4)


def test_metrics_with_labels_and_comments_are_left_out() -> None:
    text = '# HELP a b\nllamacpp:n 3\nvllm:x{m="a"} 4\nt 1e-3 1700000000\nbad nan?\n'
    assert parse_metrics(text) == {"llamacpp:n": 3.0, "t": 0.001}


@given(
    st.dictionaries(st.from_regex(r"[a-z_]+:[a-z_]+", fullmatch=True), st.floats(allow_nan=False))
)
def test_metrics_round_trip(values: dict[str, float]) -> None:
    assert parse_metrics("\n".join(f"{k} {v!r}" for k, v in values.items())) == values
