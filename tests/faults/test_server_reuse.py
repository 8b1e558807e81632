"""What keeps a repeat apart from the ones before it in the same process of a server."""

from __future__ import annotations

import json
import time
from itertools import count
from typing import Any

import pytest

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.server import state
from mls.server.api import ServerApi
from mls.server.reuse import keep_apart

MODELS = {"data": [{"id": "m", "owned_by": "vllm"}]}
CHAT = "/v1/chat/completions"
WHOLE = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "length"}]}
DATASET = Workload(kind="dataset", file="prompts.jsonl")


def server(make_server: Any, reply: Any, refuses: str = "", **pages: object) -> Any:
    """A server of vLLM's kind that refuses this field, with more pages."""

    def complete(request: Any) -> Any:
        if refuses and refuses in json.loads(request.body):
            return reply(json.dumps({"error": f"unknown field {refuses}"}).encode(), 400)
        return reply(json.dumps(WHOLE).encode())

    answers: dict[str, Any] = {"/v1/models": MODELS} | {f"/{k}": v for k, v in pages.items()}
    bodies = {path: reply(json.dumps(answer).encode()) for path, answer in answers.items()}
    return make_server(bodies | {CHAT: complete})


def apart(handle: Any, run: Run, workload: Workload | None = None) -> tuple[str, Run]:
    return keep_apart([ServerApi(handle.url)], run, workload or Workload(), "m", "run-1")


PLAIN = Run(stream=False)
CACHING = Run(stream=False, cache_prompt=True)


def test_a_cache_that_can_be_emptied_is(make_server: Any, reply: Any) -> None:
    handle = server(make_server, reply, reset_prefix_cache="")
    assert apart(handle, CACHING, DATASET) == ("reset", CACHING)
    assert [one.method for one in handle.seen if one.path == "/reset_prefix_cache"] == ["POST"]


def test_each_request_has_a_salt_where_nothing_may_be_cached(make_server: Any, reply: Any) -> None:
    assert apart(server(make_server, reply), PLAIN, DATASET) == ("salted", PLAIN)


def test_requests_of_a_repeat_share_a_salt_where_they_share_the_cache(
    make_server: Any, reply: Any
) -> None:
    how, run = apart(server(make_server, reply), CACHING, DATASET)
    assert (how, run.request_extra) == ("salted", {"cache_salt": "run-1"})


def test_prompts_that_differ_need_nothing(make_server: Any, reply: Any) -> None:
    handle = server(make_server, reply, "cache_salt")
    assert apart(handle, CACHING) == ("other prompts", CACHING)


def test_blocks_of_a_file_have_other_words_in_each_repeat(make_server: Any, reply: Any) -> None:
    handle = server(make_server, reply, "cache_salt")
    agents = {"kind": "blocks", "file": "agents.jsonl", "prompt_tokens": "trace"}
    workload = Workload.model_validate(agents)
    assert apart(handle, CACHING, workload) == ("other prompts", CACHING)


@pytest.mark.parametrize("kind", ["dataset", "replay"])
def test_the_same_prompts_again_are_refused_where_nothing_helps(
    make_server: Any, reply: Any, kind: str
) -> None:
    handle = server(make_server, reply, "cache_salt")
    workload = Workload.model_validate({"kind": kind, "file": "prompts.jsonl"})
    with pytest.raises(UserError, match="neither emptied nor kept apart; use reuse: repeat"):
        apart(handle, CACHING, workload)


def test_llama_cpp_uses_no_cache_that_was_not_asked_for(make_server: Any, reply: Any) -> None:
    slots: list[dict[str, Any]] = [{"id": 0, "n_ctx": 512, "is_processing": False}]
    props = {"total_slots": 1, "default_generation_settings": {"n_ctx": 512}}
    handle = server(make_server, reply, health={}, props=props, slots=slots)
    assert apart(handle, PLAIN, DATASET) == ("off", PLAIN)
    with pytest.raises(UserError, match=r"server\.reuse: cell"):
        apart(handle, CACHING, DATASET)


@pytest.mark.parametrize(("tokens_a_reading", "waits"), [(0, False), (1, True)])
def test_a_gauge_that_kept_its_last_value_is_not_waited_for(
    make_server: Any,
    reply: Any,
    monkeypatch: pytest.MonkeyPatch,
    tokens_a_reading: int,
    waits: bool,
) -> None:
    readings = count()

    def metrics(request: Any) -> Any:
        page = (
            "vllm:num_requests_running 138\n"
            f"vllm:generation_tokens_total {100 + tokens_a_reading * next(readings)}\n"
        )
        return reply(page.encode())

    monkeypatch.setattr(state, "_STILL_S", 0.3)
    handle = make_server({"/v1/models": reply(json.dumps(MODELS).encode()), "/metrics": metrics})
    begin = time.monotonic()
    state.settled(ServerApi(handle.url), "m", 1.5)
    assert (time.monotonic() - begin > 1.4) == waits
