"""Replies in every form that servers send are parsed, never with an exception."""

import itertools
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.exchanges import exchange

from mls.load.replies import parse


def sse(*objects):
    """The body of a stream of these chunks; a `str` is the data itself."""
    return b"".join(
        b"data: " + (each.encode() if isinstance(each, str) else orjson.dumps(each)) + b"\n\n"
        for each in objects
    )


def delta(content=None, reason=None, **others):
    holder = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": holder | others, "finish_reason": reason}]}


USAGE = {
    "choices": [],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
    "timings": {"prompt_ms": 1.5, "predicted_ms": 30, "cache_n": 4},
}
STREAM = [delta(role="assistant"), delta("Hel"), delta("lo"), delta("!"), delta(reason="length")]


def test_streamed_chat():
    reads = [sse(each) for each in [*STREAM, USAGE, "[DONE]"]]
    reply = parse(exchange(*reads))
    assert reply.error is None and reply.complete
    assert "".join(reply.text) == "Hello!"
    assert reply.chunk_reads == [1, 2, 3]
    assert reply.chunk_merged == [False, False, False]
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == (20, 3, 4)
    assert (reply.server_prompt_ms, reply.server_predicted_ms) == (1.5, 30.0)
    assert reply.finish_reason == "length"


@pytest.mark.parametrize("vector", [[0.25, -1.5], "AACAPg=="], ids=["numbers", "base64"])
def test_an_embedding_is_a_whole_reply_without_tokens(vector):
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    body = {"object": "list", "data": [{"index": 0, "embedding": vector}], "usage": usage}
    reply = parse(exchange(orjson.dumps(body), event_stream=False))
    assert reply.error is None and reply.complete and not reply.chunk_reads
    assert (reply.prompt_tokens, reply.completion_tokens) == (9, None)


def test_a_list_without_an_embedding_is_a_bad_reply():
    body = {"object": "list", "data": [{"index": 0, "embedding": []}]}
    assert parse(exchange(orjson.dumps(body), event_stream=False)).error == "bad_reply"


@given(st.lists(st.integers(0, 2000), max_size=30))
def test_any_split_gives_the_same_reply(cuts):
    body = sse(*STREAM, delta("Ünïcødé 🦙"), USAGE, "[DONE]")
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    reads = [body[a:b] for a, b in itertools.pairwise(edges)]
    whole, split = parse(exchange(body)), parse(exchange(*reads))
    for name in ("text", "error", "completion_tokens", "finish_reason", "output_sha256"):
        assert getattr(split, name) == getattr(whole, name)
    assert len(split.chunk_reads) == len(whole.chunk_reads) == 4


def test_a_character_cut_in_half_between_two_reads():
    body = sse(delta("é", reason="stop"))
    at = body.index("é".encode()) + 1
    reply = parse(exchange(body[:at], body[at:]))
    assert reply.text == ["é"] and reply.chunk_reads == [1]


def test_usage_in_the_last_content_chunk():
    last = delta("!", reason="stop") | {"usage": USAGE["usage"]}
    reply = parse(exchange(sse(delta("Hi")), sse(last)))
    assert reply.completion_tokens == 3 and reply.chunk_reads == [0, 1]


def test_no_usage_is_null_not_the_number_of_chunks():
    reply = parse(exchange(sse(*STREAM, "[DONE]")))
    assert reply.completion_tokens is None and reply.prompt_tokens is None
    assert len(reply.chunk_reads) == 3 and reply.error is None


def test_several_tokens_in_a_chunk_are_one_arrival():
    reply = parse(exchange(sse(delta("Hello, my name is")), sse(delta(reason="stop"), USAGE)))
    assert reply.chunk_reads == [0] and reply.completion_tokens == 3


def test_several_chunks_in_one_read_are_marked_merged():
    reply = parse(exchange(sse(delta("a"), delta("b")), sse(delta("c", reason="stop"))))
    assert reply.chunk_reads == [0, 0, 1]
    assert reply.chunk_merged == [True, False, False]


@pytest.mark.parametrize(
    "empty", [delta(""), delta(None), delta(role="assistant"), {"choices": []}]
)
def test_chunks_without_content_have_no_arrival(empty):
    reply = parse(exchange(sse(empty), sse(delta("a")), sse(empty), sse(delta(reason="stop"))))
    assert reply.chunk_reads == [1] and reply.text == ["a"]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_content(key):
    reply = parse(exchange(sse(delta(**{key: "Hm."})), sse(delta("Yes.", reason="stop"))))
    assert reply.text == ["Hm.", "Yes."] and reply.chunk_reads == [0, 1]


def test_tool_calls_are_content():
    def call(**function):
        return delta(tool_calls=[{"index": 0, "function": function}])

    reply = parse(
        exchange(
            sse(call(name="add", arguments="")),
            sse(call(arguments='{"a": 1')),
            sse(call(arguments="}")),
            sse(delta(reason="tool_calls")),
        )
    )
    assert reply.chunk_reads == [0, 1, 2] and reply.finish_reason == "tool_calls"
    assert "".join(reply.text) == 'add{"a": 1}'


def test_text_completions_and_native_completion():
    text = parse(exchange(sse({"choices": [{"text": "a", "finish_reason": "stop"}]})))
    assert text.text == ["a"] and text.finish_reason == "stop"
    native = parse(
        exchange(
            sse({"content": "a", "stop": False}),
            sse(
                {"content": "", "stop": True, "stop_type": "limit"}
                | {"tokens_predicted": 1, "tokens_evaluated": 9, "timings": {"cache_n": 2}}
            ),
        )
    )
    assert native.text == ["a"] and native.complete and native.finish_reason == "length"
    assert (native.prompt_tokens, native.completion_tokens, native.cached_tokens) == (9, 1, 2)


def test_whole_replies():
    chat = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]} | {
        "usage": USAGE["usage"]
    }
    body = orjson.dumps(chat)
    reply = parse(exchange(body[:10], body[10:], event_stream=False))
    assert reply.text == ["Hi"] and reply.completion_tokens == 3 and reply.chunk_reads == [1]
    native = orjson.dumps({"content": "Hi", "stop": True, "tokens_predicted": 2})
    assert parse(exchange(native, event_stream=False)).completion_tokens == 2


def test_missing_done_is_fine_where_the_server_gave_a_reason():
    reason = sse(delta("a"), delta(reason="stop"))
    assert parse(exchange(reason)).error is None
    assert parse(exchange(sse(delta("a")))).error == "closed_early"


def test_error_object_in_mid_stream():
    body = sse(delta("a"), {"error": {"code": 500, "message": "out of memory"}}, "[DONE]")
    reply = parse(exchange(body))
    assert (reply.error, reply.error_text) == ("server_error", "out of memory")
    assert reply.text == ["a"]


@pytest.mark.parametrize(
    "body, text",
    [
        (b'{"error": {"message": "no key"}}', "no key"),
        (b'{"error": "no key"}', "no key"),
        (b'{"detail": "no key"}', "no key"),
        (b'{"error": {"code": 5}}', '{"code":5}'),
        (b'{"error": {"message": "\\u001b[2Jno\\r\\n key\\u0000"}}', "[2Jno key"),
        (b"<html>no key</html>", "<html>no key</html>"),
        (b"", ""),
    ],
)
def test_http_errors_say_what_the_server_said(body, text):
    reply = parse(exchange(body, status=401, event_stream=False))
    assert (reply.error, reply.error_text) == ("http_401", text)


def test_html_with_status_200_and_empty_bodies_are_bad_replies():
    for body in (b"<html>Welcome</html>", b"", b"[1]", b'"text"', b"null", b"{}"):
        assert parse(exchange(body, event_stream=False)).error == "bad_reply"
    assert parse(exchange(b"", event_stream=True)).error == "bad_reply"


def test_a_key_that_the_server_repeats_is_not_kept():
    key = "sk-" + "k" * 40
    text = "x" * 180 + key  # error texts are cut at a length that is within the key
    body = orjson.dumps({"error": {"message": text}})
    refusal = parse(exchange(body, status=401, event_stream=False), (key,))
    assert refusal.error_text == "x" * 180 + "***"
    garbage = parse(exchange(text.encode(), event_stream=False), (key,))
    assert garbage.error == "bad_reply" and "sk-" not in garbage.error_text
    stream = sse(*(delta(letter) for letter in key), delta(reason=key))
    answer = parse(exchange(stream), (key,))
    assert answer.hide("".join(answer.text)) == answer.finish_reason == "***"


def test_a_stream_that_says_nothing_but_done_is_a_bad_reply():
    assert parse(exchange(sse("[DONE]"))).error == "bad_reply"
    assert parse(exchange(sse(delta(reason="stop"), "[DONE]"))).error is None


HOSTILE = [
    "NaN",
    '{"choices": [{"delta": {"content": "a"}}], "usage": {"completion_tokens": NaN}}',
    "[" * 100_000,
    '{"a":' * 1000 + "1" + "}" * 1000,
    '{"error":' + "[" * 1022 + "]" * 1022 + "}",
    '{"error": {"message": ' + "[" * 1020 + "]" * 1020 + "}}",
    '{"choices": [{"delta": {"content": "\\ud800"}}]}',
    '{"choices": "no list"}',
    '{"choices": [null, 1, [], {"delta": 5, "message": [1]}]}',
    '{"choices": [{"delta": {"content": {"a": 1}, "tool_calls": {"b": 2}}}]}',
    '{"choices": [{"delta": {"tool_calls": [null, {"function": 3}]}, "finish_reason": 7}]}',
    '{"usage": [], "timings": "x", "content": 4, "stop": true}',
    "{" + '"a":1,' * 50_000 + '"a":1}',
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
@pytest.mark.parametrize("event_stream", [True, False])
@pytest.mark.parametrize("status", [200, 500])
def test_hostile_json_never_raises(text, event_stream, status):
    body = sse(text) if event_stream else text.encode()
    reply = parse(exchange(body, event_stream=event_stream, status=status))
    assert reply.error is not None or reply.complete or reply.text


@pytest.mark.parametrize("number", [2**31, 2**63, 2**64, 10**30, -1, 1e308, True, "x", None, [1]])
def test_counts_that_cannot_be_are_null(number):
    chunk = delta("a", reason="stop") | {
        "usage": {"prompt_tokens": number, "completion_tokens": number},
        "timings": {"prompt_ms": number, "cache_n": number},
    }
    reply = parse(exchange(b"data: " + json.dumps(chunk).encode() + b"\n\n"))
    assert reply.error is None
    assert reply.prompt_tokens is None and reply.completion_tokens is None
    assert reply.cached_tokens is None
    assert reply.server_prompt_ms in (None, 2**31)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "text",
                    "usage",
                    "timings",
                    "error",
                    "tool_calls",
                    "function",
                    "stop",
                    "finish_reason",
                    "cache_n",
                    "prompt_tokens",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(st.lists(json_values, max_size=4), st.booleans(), st.sampled_from([200, 404, 500]))
def test_any_json_gives_a_reply(values, event_stream, status):
    lines = [json.dumps(value) for value in values]
    body = sse(*lines) if event_stream else "".join(lines).encode("utf-8", "surrogatepass")
    reply = parse(exchange(body, event_stream=event_stream, status=status))
    assert reply.error is not None or reply.complete or reply.text
    assert len(reply.chunk_reads) == len(reply.chunk_merged) == len(reply.text)


@given(st.lists(st.binary(max_size=40), max_size=4), st.booleans())
def test_any_bytes_give_a_reply(reads, event_stream):
    parse(exchange(*reads, event_stream=event_stream))


def test_the_transports_error_comes_first():
    late = exchange(sse(delta("a")))
    late.fail("timeout", "no complete reply within 1 s", late.end_ns)
    reply = parse(late)
    assert reply.error == "timeout" and reply.text == ["a"]
