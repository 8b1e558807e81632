"""Prompts of a length in tokens, in groups and in turns."""

import json
import random
from statistics import fmean, stdev

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.run import Run
from mls.config.sections.workload import Lengths, Workload
from mls.core.errors import UserError
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, draw, make_prompts
from mls.load.workload.calibration import Calibration, least_tokens
from mls.load.workload.conversations.turns import NextTurn
from mls.load.workload.tokenizer_trials import calibrate
from mls.protocol.prompts import WORDS
from mls.server.api import ServerApi

CALIBRATION = Calibration(words=tuple(WORDS), overhead=10, per_word=1, exact=True)
RUN = Run(max_tokens=9)
seeds, jobs = st.integers(0, 2**63), st.integers(-100, 10**6)


def prompts(seed=1, **keys):
    return make_prompts(RUN, Workload.model_validate(keys), seed, Materials(CALIBRATION))


def words(prompt):
    return len(prompt.text.split())


@given(seeds, jobs, st.integers(11, 5000))
def test_synthetic_prompts_have_the_tokens_asked_for(seed, job, tokens):
    """They depend on seed and job alone, so they are the same on any number of ranks."""
    prompt = prompts(seed, kind="synthetic", prompt_tokens=tokens)(job)
    assert words(prompt) + CALIBRATION.overhead == tokens == prompt.attributes.prompt_tokens
    assert prompt == prompts(seed, kind="synthetic", prompt_tokens=tokens)(job)
    assert prompt.attributes.output_tokens == 9


def test_another_seed_gives_other_prompts():
    one, other = (prompts(seed, kind="synthetic", prompt_tokens=64) for seed in (1, 2))
    texts = [make(job).text for make in (one, other) for job in range(-5, 500)]
    assert len(set(texts)) == len(texts)


@given(
    seeds,
    jobs,
    st.sampled_from(["uniform", "normal", "lognormal"]),
    st.integers(1, 50),
    st.integers(0, 500),
)
def test_lengths_stay_within_their_limits(seed, job, distribution, least, more):
    lengths = Lengths(distribution=distribution, mean=80, std=60, min=least, max=least + more)
    assert least <= draw(lengths, seed, job, "prompt", None) <= least + more


@pytest.mark.parametrize("distribution", ["normal", "lognormal"])
def test_mean_and_deviation_are_those_of_the_lengths(distribution):
    lengths = Lengths(distribution=distribution, mean=500, std=100, max=100_000)
    draws = [draw(lengths, 3, job, "prompt", None) for job in range(4000)]
    assert fmean(draws) == pytest.approx(500, rel=0.02)
    assert stdev(draws) == pytest.approx(100, rel=0.06)


def test_empirical_and_uniform_draw_every_value_alike():
    for lengths in (
        Lengths(distribution="empirical", values=[3, 4, 5]),
        Lengths(distribution="uniform", min=3, max=5),
    ):
        draws = [draw(lengths, 3, job, "output", None) for job in range(3000)]
        assert all(draws.count(value) == pytest.approx(1000, rel=0.1) for value in (3, 4, 5))
        assert draws != [draw(lengths, 3, job, "prompt", None) for job in range(3000)]


def test_groups_share_their_beginning_and_nothing_else():
    prompt_of = prompts(kind="shared_prefix", prompt_tokens=80, prefix_tokens=40, groups=3)
    all_prompts = [prompt_of(job) for job in range(12)]
    assert all(words(p) + CALIBRATION.overhead == 80 for p in all_prompts)
    beginnings = {}
    for prompt in all_prompts:
        beginnings.setdefault(prompt.attributes.group, set()).add(tuple(prompt.text.split()[:40]))
    assert all(len(texts) == 1 for texts in beginnings.values()) and len(beginnings) == 3
    assert len({prompt.text for prompt in all_prompts}) == 12
    assert len(set.union(*beginnings.values())) == 3
    assert (
        prompt_of(-1).text.split()[:40] != prompt_of(2).text.split()[:40]
    )  # the warm-up has its own


@given(seeds, st.integers(0, 300), st.integers(11, 200))
def test_prompts_at_a_depth_share_it_with_the_warm_up_and_nothing_else(seed, depth, tokens):
    prompt_of = prompts(seed, kind="depth", depth=depth, prompt_tokens=tokens)
    own = [prompt_of(job) for job in (-2, -1, 0, 1, 7)]
    texts = [prompt.text.split() for prompt in own]
    assert all(len(text) + CALIBRATION.overhead == depth + tokens for text in texts)
    assert {prompt.attributes.prompt_tokens for prompt in own} == {depth + tokens}
    assert len({tuple(text[:depth]) for text in texts}) == 1
    assert prompt_of(0) == prompts(seed, kind="depth", depth=depth, prompt_tokens=tokens)(0)
    if tokens > CALIBRATION.overhead + 20:
        assert len({tuple(text[depth:]) for text in texts}) == len(texts)


def test_a_conversation_says_all_that_was_said_before():
    workload = Workload(kind="conversation", turns=3, system="Be brief.")
    bodies = WorkloadBodies(RUN, "m", make_prompts(RUN, workload, 1, Materials(CALIBRATION)))
    first = orjson.loads(bodies.body(6))
    assert [m["role"] for m in first["messages"]] == ["system", "user"]
    assert bodies.next_turns(6, "Yes.") == [NextTurn(7, 6)]
    second = orjson.loads(bodies.body(7))["messages"]
    assert second[:2] == first["messages"]
    assert second[2] == {"role": "assistant", "content": "Yes."} and second[3]["role"] == "user"
    assert bodies.next_turns(7, "No.") == [NextTurn(8, 7)]
    assert len(orjson.loads(bodies.body(8))["messages"]) == 6
    assert bodies.next_turns(8, "So.") == []
    assert (bodies.attributes(8).session, bodies.attributes(8).turn) == (2, 2)
    assert bodies.attributes(6).prompt_tokens == 128 and bodies.attributes(7).prompt_tokens is None
    assert second[3]["content"][:64] == bodies.opening(7) != bodies.opening(6)


@pytest.mark.parametrize(
    ("endpoint", "field", "system"),
    [("/v1/responses", "input", "instructions"), ("/v1/messages", "messages", "system")],
)
def test_a_conversation_goes_on_by_responses_and_messages(endpoint, field, system):
    workload = Workload(kind="conversation", turns=3, system="Be brief.")
    run = RUN.model_copy(update={"endpoint": endpoint})
    prompts = make_prompts(run, workload, 1, Materials(CALIBRATION))
    bodies = WorkloadBodies(run, "m", prompts)
    first = orjson.loads(bodies.body(6))
    assert bodies.next_turns(6, "Yes.") and bodies.next_turns(7, "No.")
    third = orjson.loads(bodies.body(8))
    assert first[system] == third[system] == "Be brief."
    assert [turn["role"] for turn in third[field]] == ["user", "assistant"] * 2 + ["user"]
    assert third[field][0] == first[field][0] and third[field][3]["content"] == "No."


# --- calibration ---


def tokens_of(text):
    """Number of tokens by a tokenizer that makes two of each word of more than six letters."""
    return sum(1 + (len(word) > 6) for word in text.split())


def answers(reply, tokenizes=True, usage=True):
    def tokenize(request):
        return reply(
            json.dumps({"tokens": [0] * tokens_of(json.loads(request.body)["content"])}).encode()
        )

    def template(request):
        text = " ".join(m["content"] for m in json.loads(request.body)["messages"])
        return reply(json.dumps({"prompt": f"system user {text} assistant"}).encode())

    def complete(request):
        text = " ".join(m["content"] for m in json.loads(request.body)["messages"])
        counts = {"prompt_tokens": tokens_of(text) + 5} if usage else {}
        body = {
            "choices": [{"message": {"content": "a"}, "finish_reason": "length"}],
            "usage": counts,
        }
        return reply(json.dumps(body).encode())

    replies = {"/v1/chat/completions": complete}
    return replies | ({"/tokenize": tokenize, "/apply-template": template} if tokenizes else {})


def test_the_server_is_the_tokenizer(make_server, reply, tmp_path):
    server = make_server(answers(reply))
    calibration = calibrate(ServerApi(server.url), RUN, None, "m", tmp_path, "a" * 64)
    assert calibration.exact and calibration.per_word == 1
    assert set(calibration.words) == {word for word in WORDS if tokens_of(word) == 1}
    assert calibration.overhead == 5  # by usage: two more than the template that the server shows
    assert tokens_of(calibration.text(random.Random(1), 700)) == 700
    count = len(server.seen)
    assert calibrate(ServerApi(server.url), RUN, None, "m", tmp_path, "a" * 64) == calibration
    assert len(server.seen) == count + 1  # the one about the server itself
    assert not (tmp_path / "none").exists()


def test_without_a_tokenizer_lengths_are_estimated_and_said_to_be(make_server, reply):
    server = make_server(answers(reply, tokenizes=False))
    calibration = calibrate(ServerApi(server.url), RUN, None, "m", None, None)
    assert not calibration.exact and 1 < calibration.per_word < 2
    assert tokens_of(calibration.text(random.Random(1), 1000)) == pytest.approx(1000, rel=0.1)


def test_without_anything_to_count_by_it_is_one_sentence(make_server, reply):
    server = make_server(answers(reply, tokenizes=False, usage=False))
    with pytest.raises(UserError, match="neither /tokenize nor `usage`"):
        calibrate(ServerApi(server.url), RUN, None, "m", None, None)


def test_a_prompt_shorter_than_its_template_is_one_sentence():
    with pytest.raises(UserError, match="8 tokens can't be had: the chat template alone has 10"):
        least_tokens(CALIBRATION, [100, 8])
    least_tokens(CALIBRATION, [11])
