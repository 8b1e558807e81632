"""Replies in the forms of other servers, gateways and proxies."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.protocol.completion import CUT, read_reply
from mls.protocol.replies.reply import Reply

DONE = "data: [DONE]\n\n"


def chunk(content: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def thought(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def usage(prompt: Any, completion: Any, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


def data(*chunks: Any, end: str = "\n\n") -> str:
    return "".join(f"data: {json.dumps(each)}{end}" for each in chunks)


def read(body: str | bytes, stream_label: bool = True, **options: Any) -> Reply:
    raw = body.encode() if isinstance(body, str) else body
    return read_reply(200, stream_label, [(raw, 0)], **options)


WORDS = ("a ", "b ", "c ")
STREAM = [*map(chunk, WORDS), chunk(finish="length", usage=usage(7, 3))]


def assert_whole(reply: Reply) -> None:
    assert (reply.error, reply.content, len(reply.chunk_reads)) == (None, "a b c ", 3)
    assert (reply.prompt_tokens, reply.completion_tokens) == (7, 3)


@pytest.mark.parametrize("last", [{}, None, usage(0, 0), usage(None, None)])
def test_an_empty_last_usage_does_not_undo_the_counts_before(last: Any) -> None:
    chunks = [chunk(word, usage=usage(7, i + 1)) for i, word in enumerate(WORDS)]
    assert_whole(read(data(*chunks, chunk(finish="length", usage=last)) + DONE))


@pytest.mark.parametrize("status", [201, 202, 203, 206])
def test_a_success_under_another_status_is_one(status: int) -> None:
    body = (data(*STREAM) + DONE).encode()
    assert_whole(read_reply(status, True, [(body, 0)]))
    assert read_reply(300, True, [(body, 0)]).error == "http_300"


def test_a_refusal_is_text() -> None:
    assert_whole(read(data(*(thought(refusal=word) for word in WORDS), STREAM[-1]) + DONE))


def test_an_empty_fingerprint_is_none() -> None:
    """As of `transformers serve`: the probe would name it as the server's build."""
    chunks = [chunk(word, system_fingerprint="") for word in WORDS]
    assert read(data(*chunks, *STREAM[3:]) + DONE).fingerprint is None


def test_without_usage_nothing_is_counted() -> None:
    reply = read(data(*map(chunk, WORDS), chunk(finish="length")) + DONE)
    assert (reply.error, reply.prompt_tokens, reply.completion_tokens) == (None, None, None)


def test_one_text_under_both_names_of_reasoning_is_one_text() -> None:
    both = [thought(reasoning=word, reasoning_content=word, content=None) for word in WORDS]
    assert_whole(read(data(*both, STREAM[-1]) + DONE))
    assert_whole(read(data(*(thought(reasoning=word) for word in WORDS), STREAM[-1]) + DONE))


def test_parts_of_a_content_are_read() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "a "}]}]
    reply = read(data(chunk(parts), chunk("b "), chunk([{"type": "text", "text": "c "}])) + DONE)
    assert (reply.content, len(reply.chunk_reads), reply.has_reasoning) == ("a b c ", 3, True)


def test_tokens_of_the_first_chunk_by_the_usage_in_each() -> None:
    first = {"choices": [{"delta": {"tool_calls": [{"function": {"name": "f"}}]}}]}
    body = data(first | {"usage": usage(7, 8)}, chunk("b", usage=usage(7, 9)))
    reply = read(body + data(chunk(finish="tool_calls", usage=usage(7, 9))) + DONE)
    assert (reply.first_chunk_tokens, reply.completion_tokens) == (8, 9)
    timings = {"timings": {"predicted_n": 2}}  # llama.cpp's timings_per_token
    assert read(data(chunk("a") | timings, STREAM[-1]) + DONE).first_chunk_tokens == 2


def test_reasoning_that_is_hidden_came_before_the_first_chunk() -> None:
    details = usage(7, 67, completion_tokens_details={"reasoning_tokens": 64})
    reply = read(data(*map(chunk, WORDS), chunk(finish="stop", usage=details)) + DONE)
    assert reply.first_chunk_tokens == 65
    visible = read(data(thought(reasoning="x"), chunk(finish="stop", usage=details)) + DONE)
    assert visible.first_chunk_tokens is None


ERRORS = [
    (data({"error": {"message": "engine died", "code": 500}}), "engine died"),
    (data({"error": "overloaded", "error_type": "overloaded"}), "overloaded"),
    ('event: error\ndata: {"message": "upstream died", "code": 502}\n\n', "upstream died"),
    ("event: error\ndata: upstream died\n\n", "upstream died"),
    (data({"object": "error", "message": "out of memory", "code": 500}), "out of memory"),
    (data(chunk("", "error", error={"message": "provider lost"})), "provider lost"),
    (data(chunk("", "error")), "the server ended the reply with finish_reason error"),
    (data(chunk(None, "abort")), "the server ended the reply with finish_reason abort"),
    (data([{"error": {"message": "in a list"}}]), "in a list"),
    (data({"detail": "Internal Server Error"}), "Internal Server Error"),
    (data({"code": 500, "message": "engine died", "type": "server_error"}), "engine died"),
    (data({"status": 503, "message": "no backend"}), "no backend"),
]


@pytest.mark.parametrize(("shape", "text"), ERRORS)
def test_an_error_behind_http_200_is_one_in_every_shape(shape: str, text: str) -> None:
    reply = read(data(chunk("a ")) + shape + DONE)
    assert (reply.error, reply.error_text) == ("server_error", text)


def test_a_stream_that_just_ends_was_cut_off_whatever_http_says() -> None:
    assert read(data(*map(chunk, WORDS))).error == CUT
    assert read(data(*map(chunk, WORDS)) + DONE).error is None
    assert read(data(*STREAM)).error is None


def test_a_connection_closed_behind_the_last_event_has_cut_nothing_off() -> None:
    cut = (CUT, "the server closed the connection in mid-reply")
    assert_whole(read(data(*STREAM) + DONE, failure=cut))
    assert read(data(*STREAM), failure=cut).error == CUT
    assert read(data(*STREAM) + DONE, failure=("timeout", "late")).error == "timeout"


@pytest.mark.parametrize(
    "beat",
    [
        "data: : PROCESSING",
        'data: ""',
        "data: ping",
        "data: null",
        "data: 1",
        "data: [PING]",
        ": ping",
    ],
)
def test_heartbeats_cost_no_request(beat: str) -> None:
    reply = read(f"{beat}\n\n" + data(STREAM[0]) + f"{beat}\n\n" + data(*STREAM[1:]) + DONE)
    assert_whole(reply)
    assert reply.heartbeats == (0 if beat.startswith(":") else 2)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_one_newline_apart_are_events(end: str) -> None:
    assert_whole(read(data(*STREAM, end=end) + f"data: [DONE]{end}"))


def test_an_event_of_several_lines_is_one() -> None:
    lines = [f"data: {line}" for line in json.dumps(chunk("a b c "), indent=1).splitlines()]
    reply = read("\n".join(lines) + "\n\n" + data(STREAM[-1]) + DONE)
    assert (reply.error, reply.content) == (None, "a b c ")


@pytest.mark.parametrize("stream_label", [True, False])
def test_a_reply_is_what_it_is_and_not_what_its_label_says(stream_label: bool) -> None:
    assert_whole(read(data(*STREAM) + DONE, stream_label))
    assert_whole(read(b"\xef\xbb\xbf" + (data(*STREAM) + DONE).encode(), stream_label))
    assert_whole(read("\n".join(map(json.dumps, STREAM)) + "\n", stream_label))
    message = {"message": {"content": "a b c "}, "finish_reason": "length"}
    whole = json.dumps({"choices": [message], "usage": usage(7, 3)})
    for body in (whole, json.dumps(json.loads(whole), indent=2)):
        reply = read(body, stream_label)
        assert (reply.error, reply.content, reply.streamed) == (None, "a b c ", False)
    assert read(whole + "\n\n" + DONE, stream_label).content == "a b c "


@pytest.mark.parametrize(
    ("count", "value"),
    [
        ("16", 16),
        (16.0, 16),
        ("16.0", 16),
        (0, None),
        ("x", None),
        (16.5, None),
        ("16.5", None),
        (True, None),
        (-1, None),
    ],
)
def test_counts_in_other_forms(count: Any, value: int | None) -> None:
    reply = read(data(chunk("a", usage=usage(count, count)), chunk(finish="stop")) + DONE)
    assert (reply.prompt_tokens, reply.completion_tokens) == (value, value)


@given(st.text(min_size=1), st.lists(st.integers(1, 40)))
def test_characters_cut_in_two_are_whole_again(text: str, cuts: list[int]) -> None:
    """Servers that split tokens in JavaScript send the UTF-16 halves in two events."""
    units = text.encode("utf-16-le")
    halves = [
        f"\\u{int.from_bytes(units[i : i + 2], 'little'):04x}" for i in range(0, len(units), 2)
    ]
    events = [
        f'data: {{"choices": [{{"delta": {{"content": "{half}"}}, "finish_reason": null}}]}}\n\n'
        for half in halves
    ]
    reply = read("".join(events) + data(STREAM[-1]) + DONE)
    assert reply.error is None
    assert reply.content == text
    assert reply.output_sha256


@given(st.lists(st.integers(1, 400)), st.sampled_from(["\n\n", "\n", "\r\n\r\n"]))
def test_however_the_bytes_were_split(cuts: list[int], end: str) -> None:
    body = b"\xef\xbb\xbf" + (data(*STREAM, end=end) + DONE).encode()
    edges = sorted({0, *(cut for cut in cuts if cut < len(body)), len(body)})
    pieces = [(body[a:b], i) for i, (a, b) in enumerate(itertools.pairwise(edges))]
    reply = read_reply(200, True, pieces)
    assert_whole(reply)
    ends = [sum(len(piece) for piece, _ in pieces[: read + 1]) for read in reply.chunk_reads]
    begins = [len(b"\xef\xbb\xbf" + data(*STREAM[:i], end=end).encode()) for i in (1, 2, 3)]
    # an event arrives with the end of its line
    assert all(at >= begin - len(end) + 1 for at, begin in zip(ends, begins, strict=True))


@pytest.mark.parametrize(
    "body",
    [
        {
            "object": "list",
            "results": [{"index": 0, "relevance_score": -1.5}, {"relevance_score": 0}],
        },
        {"data": [{"object": "score", "score": 0.5}, {"object": "score", "score": 1}]},
    ],
    ids=["rerank", "score"],
)
def test_scores_are_a_reply_without_text(body: dict[str, object]) -> None:
    usage = {"prompt_tokens": 16, "total_tokens": 16}
    reply = read_reply(200, False, [(json.dumps(body | {"usage": usage}).encode(), 0)])
    assert (reply.error, reply.scores, reply.prompt_tokens) == (None, 2, 16)
    assert reply.is_numbers and not reply.text and reply.completion_tokens is None


@pytest.mark.parametrize("results", [[], [{"index": 0}], "none", [{"score": "high"}]])
def test_a_reply_without_scores_is_none(results: object) -> None:
    reply = read_reply(200, False, [(json.dumps({"results": results}).encode(), 0)])
    assert reply.error == "bad_reply"
