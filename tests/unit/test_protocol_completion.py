"""Replies of servers, in every form that the probe may meet."""

from __future__ import annotations

import json

import pytest

from mls.protocol.completion import read_reply
from mls.protocol.replies.reply import Reply
from mls.protocol.values import plain


def stream(*lines: str) -> Reply:
    body = "".join(f"{line}\n\n" for line in lines).encode()
    return read_reply(200, True, [(body, 0)])


def whole(reply: object) -> Reply:
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    return read_reply(200, False, [(body, 0)])


def text_of(reply: Reply) -> str:
    assert reply.error is None
    return "".join(reply.text)


def data(chunk: object) -> str:
    return f"data: {json.dumps(chunk)}"


def delta(content: str | None, **more: object) -> str:
    return data({"choices": [{"delta": {"content": content}, "finish_reason": None}], **more})


def test_streamed_chat_is_joined_and_counts_only_chunks_with_content() -> None:
    result = stream(
        ": ping",
        delta(None),
        delta("He"),
        "event: message",
        delta(""),
        delta("llo"),
        data({"choices": [{"delta": {}, "finish_reason": "length"}]}),
        data({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        "data: [DONE]",
    )
    assert (text_of(result), len(result.chunk_reads), result.finish_reason) == (
        "Hello",
        2,
        "length",
    )
    assert (result.prompt_tokens, result.completion_tokens) == (3, 2)
    assert result.streamed


@pytest.mark.parametrize(
    ("reply", "content"),
    [
        ({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}, "a"),
        ({"choices": [{"message": {"content": None, "reasoning_content": "r"}}]}, "r"),
        ({"choices": [{"text": "b", "finish_reason": "stop"}]}, "b"),
        ({"content": "c", "stop": True, "stop_type": "limit"}, "c"),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}, ""),
    ],
)
def test_replies_in_one_piece(reply: dict[str, object], content: str) -> None:
    result = whole(reply)
    assert text_of(result) == content
    assert not result.streamed


@pytest.mark.parametrize("reply", [None, [], "x", {}, {"choices": []}, {"status": "ok"}, b"<html>"])
def test_what_is_not_a_completion(reply: object) -> None:
    assert whole(reply).error == "bad_reply"


def test_a_stream_without_choices_is_not_a_completion() -> None:
    assert stream("<html>", data({"hello": 1})).error == "bad_reply"


def test_error_in_mid_stream_is_its_text() -> None:
    result = stream(delta("a"), data({"error": {"message": "slot lost", "code": 500}}))
    assert (result.error, result.error_text) == ("server_error", "slot lost")


def test_llama_cpp_timings_stand_in_for_usage() -> None:
    result = whole({"content": "x", "timings": {"cache_n": 4, "prompt_n": 6, "predicted_n": 2}})
    assert (result.prompt_tokens, result.completion_tokens, result.cached_tokens) == (10, 2, 4)


@pytest.mark.parametrize("usage", [[], "x", {"prompt_tokens": "7.5", "completion_tokens": -1}])
@pytest.mark.parametrize("timings", [3, {"prompt_n": "x", "predicted_n": None, "cache_n": 2**40}])
def test_figures_that_are_none_are_null(usage: object, timings: object) -> None:
    reply = {"choices": [{"message": {"content": "a"}}], "usage": usage, "timings": timings}
    result = whole(reply)
    assert (result.prompt_tokens, result.completion_tokens, result.cached_tokens) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize("content", [5, [7], {"a": 1}])
def test_content_that_is_no_text_is_empty(content: object) -> None:
    for form in ({"message": {"content": content}}, {"delta": {"content": content}}):
        result = whole({"choices": [form | {"finish_reason": content}]})
        assert ("".join(result.text), result.finish_reason) == ("", None)
    assert whole({"choices": [{"text": content}]}).error == "bad_reply"


def test_an_error_nested_too_deep_is_still_an_error() -> None:
    deep = '{"error": ' + "[" * 1000 + "]" * 1000 + "}"
    assert stream(f"data: {deep}").error_text == "an error without a message"
    assert stream('data: {"error": {"code": 7}}').error_text == '{"code":7}'


def test_a_servers_words_have_no_control_characters() -> None:
    assert plain("\x1b[2Jno\r\n\tkey\x00 \u202eabc\ud800") == "[2Jno key abc"
