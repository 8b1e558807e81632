"""The bytes of each request."""

import hashlib
import uuid

import httptools
import orjson
import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.request_parser import ParsedRequest

from mls.config.sections.run import Run
from mls.protocol import request as request_module
from mls.protocol.body import body_fields, counting, prompt_field, salts, without
from mls.protocol.request import RequestBuilder, Target


def builder(url="http://127.0.0.1:8090", key=None, served_as="small", **run):
    return RequestBuilder(
        [Target(url, key)], Run(**run), served_as=served_as, seed=1, run_id="cell-r1"
    )


def request_to(url="http://127.0.0.1:8090", job=3, **options):
    return ParsedRequest(builder(url, **options).wire(job))


def test_wire_is_one_complete_http_request():
    request = request_to()
    assert request.complete and (request.method, request.url) == (b"POST", b"/v1/chat/completions")
    assert request.headers["Host"] == "127.0.0.1:8090"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Accept-Encoding"] == "identity"
    assert uuid.UUID(request.headers["X-Request-Id"]).node == 3
    assert request.headers["Connection"] == "keep-alive"
    assert "Authorization" not in request.headers
    maker = builder()
    assert maker.wire(3).endswith(maker.body(3)) and maker.body(3) == request.body
    assert {name: request.headers[name] for name in maker.headers(3)} == maker.headers(3)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example('Qwen/Qwen2.5 7B:Q4_K_M "x" é')
def test_any_name_of_a_model_arrives(name):
    assert orjson.loads(request_to(served_as=name).body)["model"] == name


def test_key_goes_into_the_header_only():
    request = request_to(key="s3cret")
    assert request.headers["Authorization"] == "Bearer s3cret" and b"s3cret" not in request.body


@pytest.mark.parametrize(
    "url, host, path",
    [
        ("https://llm.example/", "llm.example", b"/v1/chat/completions"),
        ("http://llm.example:81/proxy", "llm.example:81", b"/proxy/v1/chat/completions"),
        ("http://user:word@llm.example", "llm.example", b"/v1/chat/completions"),
        ("http://[::1]:8090", "[::1]:8090", b"/v1/chat/completions"),
    ],
)
def test_host_and_path(url, host, path):
    request = request_to(url)
    assert (request.headers["Host"], request.url) == (host, path)


@given(st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="#%."), max_size=8))
def test_the_path_is_as_requests_sends_it(text):
    """The URL's path is longer than the text: what an endpoint repeats of it is sent once."""
    run = Run(endpoint=f"/{text}/completions?q=%20{text}")
    wire = builder("http://a/ü-and-longer", endpoint=run.endpoint).wire(0)
    path = requests.Request("POST", f"http://a/ü-and-longer{run.endpoint}").prepare().path_url
    assert wire.startswith(f"POST {path} HTTP/1.1\r\n".encode("ascii"))


def test_targets():
    assert (Target("https://a").port, Target("https://a").tls) == (443, True)
    assert (Target("http://a").port, Target("http://a").tls) == (80, False)
    assert (Target("http://[::1]:7").host, Target("http://[::1]:7").port) == ("::1", 7)


def test_fields_of_each_endpoint():
    chat = orjson.loads(request_to().body)
    assert chat["messages"][0]["role"] == "user" and "prompt" not in chat
    assert (chat["model"], chat["max_tokens"], chat["stream"]) == ("small", 64, True)
    assert chat["stream_options"] == {"include_usage": True} and chat["cache_prompt"] is False
    text = orjson.loads(request_to(endpoint="/v1/completions").body)
    assert text["prompt"] == chat["messages"][0]["content"] and "messages" not in text
    native = orjson.loads(request_to(endpoint="/completion").body)
    assert native["n_predict"] == 64 and "max_tokens" not in native
    assert "stream_options" not in native
    whole = orjson.loads(request_to(stream=False).body)
    assert whole["stream"] is False and "stream_options" not in whole
    assert request_to(stream=False).headers["Accept"] == "application/json"


@pytest.mark.parametrize("extra", [{}, {"stream_options": {"include_usage": True}}])
def test_options_of_a_stream_go_with_streams_alone(extra):
    """vLLM refuses them elsewhere, as in the requests before the load that are not streamed."""
    run = Run(stream=False, request_extra=extra)
    assert "stream_options" not in body_fields(run, "m")
    assert "stream_options" not in body_fields(counting(run), "m")
    assert "stream_options" in body_fields(counting(run).model_copy(update={"stream": True}), "m")


def test_fields_follow_the_config():
    fields = body_fields(Run(ignore_eos=False, cache_prompt=True, temperature=0), None)
    assert "ignore_eos" not in fields and "model" not in fields
    assert fields["cache_prompt"] is True and fields["temperature"] == 0
    extra = body_fields(Run(request_extra={"top_k": 1, "max_tokens": 5}), "m")
    assert extra["top_k"] == 1 and extra["max_tokens"] == 5 and "min_tokens" not in extra


def test_a_reply_is_not_to_be_shorter_where_the_server_knows_how_to_be_told():
    assert body_fields(Run(max_tokens=9), None)["min_tokens"] == 9
    assert "min_tokens" not in body_fields(Run(ignore_eos=False), None)
    assert "min_tokens" not in body_fields(Run(endpoint="/completion"), None)


def test_responses_are_asked_for_in_their_own_words():
    request = request_to(endpoint="/v1/responses")
    body = orjson.loads(request.body)
    [item] = body["input"]
    assert (item["type"], item["role"], len(item["content"].split()) > 48) == (
        "message",
        "user",
        True,
    )
    assert (body["max_output_tokens"], body["min_tokens"], body["stream"]) == (64, 64, True)
    assert not {"max_tokens", "messages", "stream_options", "instructions"} & set(body)
    run = Run(endpoint="/v1/responses", request_extra={"max_output_tokens": 5})
    assert body_fields(run, None)["max_output_tokens"] == 5
    assert prompt_field(run, "Hi", "Be kind.")["instructions"] == "Be kind."


def test_messages_are_asked_for_in_their_own_words():
    request = request_to(endpoint="/api/v1/messages")
    body = orjson.loads(request.body)
    assert [each["role"] for each in body["messages"]] == ["user"] and body["max_tokens"] == 64
    assert not {"stream_options", "system", "input"} & set(body)
    assert request.headers["anthropic-version"] == "2023-06-01"
    own = request_to(endpoint="/v1/messages", request_headers={"Anthropic-Version": "2030-01-01"})
    versions = [own.headers[name] for name in own.headers if name.lower() == "anthropic-version"]
    assert versions == ["2030-01-01"]
    assert "anthropic-version" not in request_to().headers
    turns = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    field = prompt_field(Run(endpoint="/v1/messages"), "Hi", "Be kind.", turns)
    assert field == {"system": "system", "messages": turns[1:]}
    assert prompt_field(Run(endpoint="/v1/messages"), "Hi", "")["system"] == ""


def test_max_tokens_has_a_successor_at_openai_alone():
    for endpoint in ("/v1/messages", "/v1/responses"):
        fields = body_fields(without(Run(endpoint=endpoint), ["max_tokens"]), None)
        assert "max_completion_tokens" not in fields


def test_embeddings_are_asked_for_with_an_input_and_nothing_about_tokens():
    request = request_to(endpoint="/v1/embeddings", request_extra={"dimensions": 64})
    body = orjson.loads(request.body)
    assert set(body) == {"model", "input", "dimensions"} and len(body["input"].split()) > 48
    assert request.headers["Accept"] == "application/json"
    assert builder(endpoint="/v1/embeddings").attributes(0).output_tokens is None


@pytest.mark.parametrize(
    ("endpoint", "question", "documents"),
    [("/v1/rerank", "query", "documents"), ("/v1/score", "text_1", "text_2")],
)
def test_scores_are_asked_for_of_the_prompt_s_text(endpoint, question, documents):
    request = request_to(endpoint=endpoint)
    body = orjson.loads(request.body)
    assert set(body) == {"model", question, documents} and body[question]
    [text] = body[documents]
    assert len(text.split()) > 48 and request.headers["Accept"] == "application/json"
    assert body_fields(Run(endpoint=endpoint, request_extra={question: "Why?"}), None) == {
        question: "Why?"
    }
    assert not salts(Run(endpoint=endpoint))


def test_infill_asks_for_what_comes_after_a_text():
    body = orjson.loads(request_to(endpoint="/infill").body)
    assert len(body["input_prefix"].split()) > 48 and body["input_suffix"] == ""
    assert body["n_predict"] == 64 and not {"prompt", "max_tokens", "cache_salt"} & set(body)
    run = Run(endpoint="/infill", request_extra={"input_suffix": "}"})
    assert body_fields(run, None)["input_suffix"] == "}"


def test_headers_of_the_config_are_sent():
    request = request_to(request_headers={"X-Tenant": "a b", "User-Agent": "other"})
    assert request.headers["X-Tenant"] == "a b" and request.headers["User-Agent"] == "other"
    for bad in ({"X Y": "a"}, {"X": "a\r\nY: b"}):
        with pytest.raises(ValueError, match="pattern"):
            Run(request_headers=bad)


def test_one_connection_a_request_says_so():
    assert request_to(reuse_connections=False).headers["Connection"] == "close"


def test_the_same_on_every_rank_and_different_for_each_job():
    one, other = builder(), builder()
    assert [one.wire(job) for job in range(5)] == [other.wire(job) for job in range(5)]
    assert len({one.prompt_sha256(job) for job in range(-5, 100)}) == 105


def test_built_ahead_is_what_would_be_built_under_load(monkeypatch):
    ahead, later = builder(), builder()
    ahead.build_ahead(range(10))
    jobs = []
    monkeypatch.setattr(RequestBuilder, "_build", lambda self, job: jobs.append(job))
    early = [ahead.wire(job) for job in range(10)]
    assert jobs == []
    monkeypatch.undo()
    assert early == [later.wire(job) for job in range(10)]
    assert ahead.wire(3) == later.wire(3)  # also a second time


def test_building_ahead_is_bounded_in_memory(monkeypatch):
    size = len(builder().wire(0))
    monkeypatch.setattr(request_module, "_BUILD_AHEAD_BYTES", 10 * size)
    maker = builder()
    maker.build_ahead(range(10**9))  # comes to an end
    assert len(maker._ready) <= 12


def test_prompt_digest_and_opening_are_of_the_prompts_text():
    maker = builder(endpoint="/completion")
    text = orjson.loads(maker.body(0))["prompt"]
    assert maker.prompt_sha256(0) == hashlib.sha256(text.encode()).hexdigest()
    assert maker.opening(0) == text[:64] != maker.opening(1)


def test_parser_used_here_notices_a_wrong_length():
    wire = builder().wire(0)
    assert not ParsedRequest(wire[:-1]).complete
    with pytest.raises(httptools.HttpParserError):
        ParsedRequest(wire + b"x")


def test_no_two_requests_have_one_salt():
    run = Run(prompt_words=4)
    one, other = (
        RequestBuilder(
            [Target("http://h:1")], run, served_as="m", seed=1, run_id=run_id, salted=True
        )
        for run_id in ("a", "b")
    )
    bodies = [orjson.loads(maker.body(job)) for maker in (one, other) for job in (-1, 0, 1)]
    assert len({body.pop("cache_salt") for body in bodies}) == 6
    plain = RequestBuilder([Target("http://h:1")], run, served_as="m", seed=1, run_id="a")
    assert [orjson.loads(plain.body(job)) for job in (-1, 0, 1)] * 2 == bodies
    request = ParsedRequest(one.wire(1))
    assert request.complete and request.body == one.body(1)


@pytest.mark.parametrize(
    "run",
    [
        Run(cache_prompt=True),
        Run(endpoint="/completion"),
        Run(endpoint="/v1/embeddings"),
        Run(request_extra={"cache_salt": "mine"}),
        without(Run(), ["cache_salt"]),
    ],
)
def test_where_there_is_no_salt(run):
    assert salts(Run()) and not salts(run)
