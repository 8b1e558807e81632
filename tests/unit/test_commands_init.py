"""`mls init`: the config that it writes for a server of one's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.commands.init import (
    LEAST_TOKENS,
    LEAST_WORDS,
    MAX_TOKENS,
    PROMPT_WORDS,
    TOKENS_A_WORD,
    config_data,
    sweep_name,
)
from mls.config.parse import parse_config
from mls.server.probe_result import Cache, Probe

URL = "http://gpu1:8080"


def properties(slots=None, ctx=None, served_as="m", template=20):
    return Probe(
        url=URL,
        model="server",
        served_as=served_as,
        health="ok",
        models=None,
        build=None,
        model_path=None,
        slots=slots,
        ctx_per_slot=ctx,
        chat_template=None,
        endpoints={},
        streaming=True,
        prompt_tokens={1: template},
        prompt_tokens_measured=True,
        replies=[],
        cache=Cache(cache_prompt=False, cached_tokens=None),
        warnings=[],
    )


def made(probe, model=None, share=1.0):
    data = config_data("gpu1-8080", {"url": URL}, model, probe, share)
    return parse_config(data)


def test_without_a_word_of_the_server_it_is_the_default_grid():
    config = made(properties())
    assert config.sweep["inflight"] == [1, 2, 4, 8]
    assert (config.run.prompt_words, config.run.max_tokens) == (PROMPT_WORDS, MAX_TOKENS)


@pytest.mark.parametrize(
    ("slots", "largest"), [(1, 8), (8, 8), (9, 8), (16, 16), (48, 32), (256, 64)]
)
def test_more_slots_are_more_in_flight(slots, largest):
    assert made(properties(slots=slots)).sweep["inflight"][-1] == largest


@pytest.mark.parametrize(
    ("share", "lengths"),
    [(0.5, (PROMPT_WORDS // 2, MAX_TOKENS // 2)), (1e-3, (LEAST_WORDS, LEAST_TOKENS))],
)
def test_a_slow_server_has_shorter_requests(share, lengths):
    run = made(properties(), share=share).run
    assert (run.prompt_words, run.max_tokens) == lengths


@given(ctx=st.integers(64, 10**6), template=st.integers(1, 40), share=st.floats(0, 1))
def test_prompt_and_reply_fit_into_a_slot(ctx, template, share):
    run = made(properties(ctx=ctx, template=template), share=share).run
    tokens = template + run.prompt_words * TOKENS_A_WORD + run.max_tokens
    assert tokens <= ctx or run.prompt_words == 1
    assert run.prompt_words <= PROMPT_WORDS and run.max_tokens <= MAX_TOKENS


@given(served_as=st.text(max_size=30) | st.just("Qwen/Qwen2.5-7B") | st.just("/m/x.gguf"))
def test_any_name_of_a_model_makes_a_config(served_as):
    config = made(properties(served_as=served_as))
    assert len(config.models) == 1


def test_a_model_that_is_named_is_sent_by_that_name():
    config = made(properties(served_as="other"), "Qwen/Qwen2.5-7B")
    assert [*config.models] == ["Qwen2.5-7B"]
    assert config.models["Qwen2.5-7B"].served_as == "Qwen/Qwen2.5-7B"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://localhost:8080", "localhost-8080"),
        ("https://api.example.com/v1", "api.example.com"),
        ("http://user:secret@host:1/llm", "host-1-llm"),
        ("http://[::1]:8080", "1-8080"),
    ],
)
def test_the_sweep_is_named_after_host_port_and_path(url, name):
    assert sweep_name(url) == name
