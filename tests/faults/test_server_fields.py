"""Servers that refuse unknown fields: requests go without them, and the probe names them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.protocol.request import OPTIONAL, body_fields, without
from mls.server.api import ServerApi
from mls.server.fields import refused_fields
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
