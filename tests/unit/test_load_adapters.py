"""Which adapter a request asks for: by seed and job alone, by weight, in the server's words."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.request_parser import ParsedRequest

from mls.config.config import ModelSource
from mls.config.sections.load import Load
from mls.config.sections.run import Adapter, Run
from mls.config.sections.server import Server
from mls.config.sections.workload import Workload
from mls.config.settings import Settings
from mls.load.adapters import Adapters
from mls.load.canaries.known import Canaries, References
from mls.load.canaries.plan import CanaryPlan
from mls.load.spec import RunSpec
from mls.load.workload.builder import Prompt
from mls.protocol.request import Target

THREE = [Adapter(name="a", weight=1), Adapter(name="b", weight=2), Adapter(name="c", weight=5)]
OFF, ON = [{"id": 0, "scale": 0.0}], [{"id": 0, "scale": 1.0}, {"id": 3, "scale": 0.5}]
JOBS = range(-4, 60)


def numbers(seed, turns=1, jobs=JOBS, adapters=THREE):
    plan = Adapters(adapters, seed, turns, None)
    return {job: plan.number(job) for job in jobs}


@given(st.integers(0, 2**62), st.permutations(JOBS))
def test_the_order_of_the_requests_changes_nothing(seed, jobs):
    assert numbers(seed, jobs=jobs) == numbers(seed)
    assert set(numbers(seed).values()) <= {0, 1, 2}


def test_each_is_drawn_as_often_as_its_weight_says_and_another_seed_draws_others():
    draws = [numbers(seed, jobs=range(8000)) for seed in (1, 2)]
    for draw in draws:
        counts = Counter(draw.values())
        # ten standard deviations of a binomial count
        assert all(abs(counts[i] - 1000 * w) < 450 for i, w in enumerate((1, 2, 5)))
    assert draws[0] != draws[1]


@given(st.integers(0, 2**62), st.integers(2, 7))
def test_the_turns_of_a_conversation_have_the_same_one(seed, turns):
    draw = numbers(seed, turns, range(20 * turns))
    assert all(draw[job] == draw[job - job % turns] for job in draw)


def unique(pairs):
    keys = [key for key, _ in pairs]
    assert len(set(keys)) == len(keys), keys
    return dict(pairs)


def builder(adapters, canaries=None, salted=False, endpoint="/v1/chat/completions", **workload):
    run = Run.model_validate({"endpoint": endpoint, "adapters": adapters})
    cell = {"model": "m", "inflight": 8, "ranks": 2}
    settings = Settings(
        *(cell, 1, 7, ModelSource(), "base", Server(), run, Load(), Workload(**workload))
    )
    spec = RunSpec(
        settings, (Target("http://h"),), "base", 7, "t", salted=salted, canaries=canaries
    )
    return spec.builder(spec.bodies())


def body(requests, job):
    return json.loads(ParsedRequest(requests.wire(job)).body, object_pairs_hook=unique)


@pytest.mark.parametrize("workload", [{}, {"system": "Be brief."}], ids=["words", "workload"])
@pytest.mark.parametrize("salted", [False, True])
@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/completion", "/v1/responses"])
def test_llama_cpp_is_told_what_to_apply(workload, salted, endpoint):
    adapters = [
        {"name": "off", "lora": OFF},
        {"name": "on", "lora": ON},
        {"name": "as-it-is"},
    ]
    requests = builder(adapters, salted=salted, endpoint=endpoint, **workload)
    plain = builder([], salted=salted, endpoint=endpoint, **workload)
    drawn = set()
    for job in range(-3, 40):
        sent = body(requests, job)
        number = requests.adapter(job)
        assert sent.pop("lora", None) == (OFF, ON, None)[number]
        assert sent == body(plain, job) and sent["model"] == "base"
        drawn.add(number)
    assert drawn == {0, 1, 2} and plain.adapter(0) is None


@pytest.mark.parametrize("workload", [{}, {"system": "Be brief."}], ids=["words", "workload"])
def test_vllm_is_told_the_adapters_model(workload):
    requests = builder([{"name": "base"}, {"name": "fr", "model": "lora-fr"}], **workload)
    plain = builder([], **workload)
    for job in range(40):
        sent = body(requests, job)
        assert sent == body(plain, job) | {"model": ("base", "lora-fr")[requests.adapter(job)]}


def test_canaries_have_none_and_keep_their_model():
    plan = CanaryPlan((Prompt("one"), Prompt("two")), 4, 7)
    canaries = Canaries(plan, References((), (), 0, None, 0.0))
    requests = builder([{"name": "fr", "model": "lora-fr", "lora": ON}], canaries)
    for job in range(40):
        sent, is_canary = body(requests, job), plan.number(job) is not None
        assert (requests.adapter(job) is None) == is_canary
        assert sent["model"] == ("base" if is_canary else "lora-fr")
        assert ("lora" in sent) != is_canary


@pytest.mark.parametrize(
    "keys, problem",
    [
        ({"adapters": [{"name": "a"}, {"name": "a"}]}, "names of `adapters` must be different"),
        ({"adapters": [{"name": "a", "weight": 0}]}, "greater than 0"),
        ({"adapters": [{"name": "a", "lora": []}]}, "at least 1 item"),
        ({"adapters": [{"name": "a", "lora": [{"id": -1}]}]}, "greater than or equal to 0"),
        (
            {"adapters": [{"name": "a", "lora": [{"id": 0}]}], "request_extra": {"lora": []}},
            "`lora` is given in `adapters` and in `request_extra`",
        ),
        (
            {"adapters": [{"name": "a", "model": "m"}], "request_extra": {"model": "n"}},
            "`model` is given in `adapters` and in `request_extra`",
        ),
    ],
)
def test_a_wrong_key_is_named(keys, problem):
    with pytest.raises(ValidationError, match=problem):
        Run.model_validate(keys)
