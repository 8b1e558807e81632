"""Servers that refuse unknown fields: requests go without them, and the probe names them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mls.commands.outcome import Outcome
from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.protocol.body import OPTIONAL, body_fields, without
from mls.protocol.request import Target
from mls.server.api import ServerApi
from mls.server.fields import refused_fields, with_counts
from mls.server.probe import probe

CHAT = "/v1/chat/completions"
WHOLE = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "length"}]}
FORMS = {
    "named": lambda name: {"error": {"message": f"Unsupported parameter: '{name}'", "param": name}},
    "all at once": lambda _: {"error": {"message": "Unexpected keys: {fields}"}},
    "by pydantic": lambda name: {"detail": [{"type": "extra_forbidden", "loc": ["body", name]}]},
    "not named": lambda _: {"error": "bad request"},
}


class Strict:
    """Refuses the first of `fields` that a request has, in the words of a form (FORMS)."""

    def __init__(self, reply: Any, fields: tuple[str, ...], form: str, status: int = 400) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._reply, self._fields, self._form, self._status = reply, fields, form, status

    def __call__(self, request: Any) -> Any:
        body = json.loads(request.body)
        self.bodies.append(body)
        fields = [name for name in self._fields if name in body]
        if fields:
            text = json.dumps(FORMS[self._form](fields[0])).replace("{fields}", str(fields))
            return self._reply(text.encode(), self._status)
        if body["stream"]:
            chunk = {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "length"}]}
            text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
            return self._reply(text.encode(), kind="text/event-stream")
        return self._reply(json.dumps(WHOLE).encode())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "fields", [(), ("cache_prompt", "ignore_eos", "min_tokens"), ("max_tokens",), OPTIONAL]
)
def test_fields_that_are_refused_are_found_out(
    make_server: Any, reply: Any, form: str, fields: tuple[str, ...]
) -> None:
    strict = Strict(reply, fields, form, 422 if form == "by pydantic" else 400)
    run = Run()
    refusals = refused_fields(ServerApi(make_server({CHAT: strict}).url), run, "m")
    assert set(refusals) == set(fields)
    assert len(strict.bodies) == 1 or fields
    body = body_fields(without(run, refusals), "m")
    assert not set(fields) & set(body) and {"model", "stream"} <= set(body)
    assert (body.get("max_completion_tokens") == 64) == ("max_tokens" in fields)


def test_what_the_user_sets_is_never_left_out(make_server: Any, reply: Any) -> None:
    strict = Strict(reply, ("temperature", "cache_prompt"), "named")
    api = ServerApi(make_server({CHAT: strict}).url)
    with pytest.raises(UserError, match="Unsupported parameter: 'temperature'"):
        refused_fields(api, Run(request_extra={"temperature": 1}), "m")


def test_null_leaves_a_field_out() -> None:
    run = Run(request_extra={"cache_prompt": None, "max_tokens": None, "user": "me"})
    body = body_fields(run, "m")
    assert "cache_prompt" not in body and "max_tokens" not in body
    assert (body["max_completion_tokens"], body["user"]) == (64, "me")


def test_another_refusal_is_one_sentence(make_server: Any, reply: Any) -> None:
    text = json.dumps({"error": {"message": "no such model"}}).encode()
    with pytest.raises(UserError, match="refused a request with HTTP 400: no such model"):
        refused_fields(ServerApi(make_server({CHAT: reply(text, 400)}).url), Run(), "m")


def test_the_probe_says_what_is_left_out(make_server: Any, reply: Any) -> None:
    fields = ("cache_prompt", "min_tokens")
    strict = Strict(reply, fields, "named")
    config = parse_config({"models": {"m": {}}, "server": {"url": make_server({CHAT: strict}).url}})
    answer = probe(config, "m", config.server.addresses[0])
    assert answer.refused == sorted(fields)
    assert any(re.search("refuses cache_prompt, min_tokens", text) for text in answer.warnings)


class Chunky:
    """Streams replies of several tokens a chunk, and counts in each chunk when asked to."""

    def __init__(self, reply: Any, a_chunk: int, takes: bool = True) -> None:
        self.options: list[Any] = []
        self._reply, self._a_chunk, self._takes = reply, a_chunk, takes

    def __call__(self, request: Any) -> Any:
        body = json.loads(request.body)
        options = body.get("stream_options") or {}
        self.options.append(options)
        if "continuous_usage_stats" in options and not self._takes:
            return self._reply(b'{"error": "extra_forbidden: continuous_usage_stats"}', 422)
        tokens, events = body["max_tokens"], []
        if not body["stream"]:
            return self._reply(json.dumps(WHOLE | {"usage": self._usage(tokens)}).encode())
        for sent in range(self._a_chunk, tokens + self._a_chunk, self._a_chunk):
            chunk: dict[str, Any] = {"choices": [{"delta": {"content": "Hi"}}]}
            if options.get("continuous_usage_stats"):
                chunk["usage"] = self._usage(min(sent, tokens))
            events.append(chunk)
        events[-1]["choices"][0]["finish_reason"] = "length"
        events.append({"choices": [], "usage": self._usage(tokens)})
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return self._reply(f"{text}data: [DONE]\n\n".encode(), kind="text/event-stream")

    @staticmethod
    def _usage(tokens: int) -> dict[str, int]:
        return {"prompt_tokens": 9, "completion_tokens": tokens}


def options_of(server: Chunky, make_server: Any, **keys: Any) -> Any:
    """`stream_options` of a run's requests."""
    run = with_counts(ServerApi(make_server({CHAT: server}).url), Run(**keys), "m")
    return body_fields(run, "m").get("stream_options")


COUNTING = {"include_usage": True, "continuous_usage_stats": True}
PLAIN = {"include_usage": True}


def test_counts_are_asked_for_where_chunks_hold_several_tokens(
    make_server: Any, reply: Any
) -> None:
    assert options_of(Chunky(reply, 4), make_server) == COUNTING
    server = Chunky(reply, 1)
    assert options_of(server, make_server) == PLAIN
    assert server.options == [PLAIN]  # a front end with enough to do gets no more of it


def test_counts_that_a_server_refuses_or_does_not_give_are_not_asked_for(
    make_server: Any, reply: Any
) -> None:
    assert options_of(Chunky(reply, 4, takes=False), make_server) == PLAIN

    class Deaf(Chunky):
        def __call__(self, request: Any) -> Any:
            request.body = request.body.replace(b"continuous_usage_stats", b"unknown_to_it")
            return super().__call__(request)

    assert options_of(Deaf(reply, 4), make_server) == PLAIN


@pytest.mark.parametrize(
    "keys",
    [
        {"request_extra": {"stream_options": PLAIN}},
        {"request_extra": {"stream_options": None}},
        {"stream": False},
        {"endpoint": "/v1/embeddings"},
        {"endpoint": "/completion"},
    ],
    ids=lambda keys: str(next(iter(keys.values()))),
)
def test_what_counts_are_none_of_is_not_tried(make_server: Any, reply: Any, keys: Any) -> None:
    server = Chunky(reply, 4)
    before = body_fields(Run(**keys), "m").get("stream_options")
    assert options_of(server, make_server, **keys) == before
    assert server.options == []


def test_the_probe_says_that_chunks_hold_several_tokens(make_server: Any, reply: Any) -> None:
    for a_chunk, says in ((4, True), (1, False)):
        url = make_server({CHAT: Chunky(reply, a_chunk)}).url
        config = parse_config({"models": {"m": {}}, "server": {"url": url}})
        texts = probe(config, "m", url).warnings
        assert any("hold several tokens" in text for text in texts) == says


def test_all_ranks_of_a_run_ask_for_what_rank_0_decided(make_server: Any, reply: Any) -> None:
    target = Target(make_server({CHAT: Chunky(reply, 4)}).url)
    config = parse_config({"models": {"m": {"served_as": "m"}}, "server": {"url": target.url}})
    outcome = Outcome(config, settings(config, cells(config)[0], 1), 1, [target], None)
    _, _, run = outcome.introduce([ServerApi(target)])
    assert body_fields(run, "m")["stream_options"] == COUNTING
