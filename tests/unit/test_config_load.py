"""`load` and `workload` of the config: axes, and bad input in one sentence."""

import json

import pytest

from mls.config.cells import cells
from mls.config.config import Config
from mls.config.parse import parse_config
from mls.config.sections import types
from mls.config.sections.load import Load
from mls.config.sections.workload import Workload
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.report.text.plan import load_words, prompt_words


def config(**keys):
    return parse_config({"models": {"m": {}}} | keys)


def test_rates_and_lengths_are_axes():
    sweep = config(
        load={"kind": "poisson"},
        workload={"kind": "synthetic"},
        sweep={"rate": [1, 2.5], "prompt_tokens": [64, 128]},
    )
    points = [settings(sweep, cell, 1) for cell in cells(sweep)]
    assert [(p.load.rate, p.workload.prompt_tokens.value) for p in points] == [
        (1, 64),
        (1, 128),
        (2.5, 64),
        (2.5, 128),
    ]


def test_the_longest_request_is_known_beforehand():
    def longest(**keys):
        return settings(config(workload=keys), cells(config())[0], 1).workload.longest(64)

    assert longest(kind="words") == (None, 64)
    assert longest(kind="synthetic", prompt_tokens=100, output_tokens=7) == (100, 7)
    uniform = {"distribution": "uniform", "min": 5, "max": 900}
    assert longest(kind="synthetic", prompt_tokens=uniform) == (900, 64)
    prompt, reply = longest(kind="conversation", prompt_tokens=100, turns=3, output_tokens=10)
    assert prompt >= 3 * 100 + 2 * 10 and reply == 10


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"load": {"kind": "poisson", "rate": -1}}, "load.rate: input should be greater than 0, not -1"),
        ({"load": {"kind": "poisson"}}, "load.rate: this key is missing; kind poisson needs it"),
        ({"load": {"rate": 2}}, "rate goes with kind constant or poisson or gamma, not with kind closed"),
        ({"sweep": {"rate": [1]}}, "rate goes with kind"),
        (
            {"load": {"kind": "stages", "stages": [{"kind": "burst", "duration_s": 1}]}},
            "load.stages.0: kind burst needs burst",
        ),
        ({"load": {"kind": "stages"}}, "load.stages: this key is missing"),
        ({"load": {"kind": "trace"}}, "load.file: this key is missing"),
        (
            {"load": {"kind": "poisson", "rate": 1, "max_inflight": 1}, "run": {"ranks": 3, "inflight": 4}},
            "load.max_inflight: expected at least one for each of the 3 ranks",
        ),
        (
            {"load": {"kind": "poisson", "rate": 1}, "run": {"transport": "requests"}},
            "run.transport: load.kind poisson goes with epoll",
        ),
        ({"workload": {"kind": "dataset"}}, "workload: kind dataset needs file"),
        ({"workload": {"prompt_tokens": 5}}, "prompt_tokens goes with kind synthetic or"),
        (
            {"workload": {"kind": "synthetic", "prompt_tokens": 0}},
            "workload.prompt_tokens: expected at least 1 token, not 0",
        ),
        (
            {"workload": {"kind": "synthetic", "prompt_tokens": {"distribution": "normal", "mean": 3}}},
            "workload.prompt_tokens: distribution normal needs std",
        ),
        (
            {"workload": {"kind": "synthetic", "prompt_tokens": {"distribution": "uniform", "mx": 3}}},
            "workload.prompt_tokens.mx: unknown key (did you mean 'max'?)",
        ),
        ({"workload": {"kind": "synthetic", "prompt_tokens": "trace"}}, "go with load.kind trace"),
        (
            {"workload": {"kind": "shared_prefix", "prompt_tokens": 100, "prefix_tokens": 100}},
            "workload.prompt_tokens: expected more than the 100 tokens of prefix_tokens",
        ),
        (
            {"workload": {"kind": "conversation", "file": "a.jsonl", "turns": 3}},
            "turns goes with kind conversation, not with kind conversation with file",
        ),
        (
            {"workload": {"kind": "conversation", "history": "dataset"}},
            "history goes with kind conversation with file, not with kind conversation",
        ),
        (
            {"workload": {"kind": "conversation", "file": "a", "columns": {"output_tokens": "n"}}},
            "columns.output_tokens goes with kind dataset, not with a conversation",
        ),
        *(
            ({"workload": keys | {"output_tokens": "dataset"}}, "output_tokens: dataset goes with kind conversation, file and history")
            for keys in (
                {"kind": "conversation", "file": "a"},
                {"kind": "conversation"},
                {"kind": "dataset", "file": "a"},
                {},
            )
        ),
        ({"workload": {"kind": "synthetic", "prompt_tokens": "dataset"}}, "prompt_tokens: dataset is no length of prompts"),
        ({"workload": {"output_tokens": "data"}}, "expected a number, `trace`, `dataset`, or a mapping"),
        (
            {"workload": {"kind": "conversation", "think_s": -1}},
            "workload.think_s: expected a number of seconds of at least 0",
        ),
        (
            {"workload": {"kind": "conversation", "think_s": {"distribution": "lognormal", "mean": 1}}},
            "workload.think_s: distribution lognormal needs std",
        ),
        ({"load": {"think_s": {"min": 3, "max": 1}}}, "load.think_s: max must not be less than min"),
        (
            {"workload": {"kind": "synthetic", "think_s": {"min": 1, "max": 3}}},
            "think_s goes with kind conversation or conversation with file or blocks with file, not with kind synthetic",
        ),
        (
            {"workload": {"kind": "depth"}},
            "run.cache_prompt: workload.kind depth reaches its depth through the server's prompt cache",
        ),
        (
            {"workload": {"kind": "depth"}, "run": {"cache_prompt": True, "warmup": 1, "inflight": 2}, "sweep": {}},
            "run.warmup: expected at least one request for each of the 2 in flight, not 1",
        ),
        ({"workload": {"kind": "synthetic", "depth": 5}}, "depth goes with kind depth"),
        (
            {"workload": {"kind": "conversation"}, "run": {"endpoint": "/completion"}},
            "a conversation goes with load.kind closed and a chat endpoint",
        ),
        (
            {"workload": {"kind": "conversation"}, "run": {"cancel": {"share": 0.5, "after_s": 1}}},
            "run.cancel: a conversation would end at its first cancelled turn",
        ),
        (
            {"sweep": {"cancel_share": [0, 0.3]}},
            "sweep.cancel_share: run.cancel is missing, whose after_s says when to hang up",
        ),
        (
            {"sweep": {"cancel_share": [2]}, "run": {"cancel": {"share": 0.5, "after_s": 1}}},
            "run.cancel.share",
        ),
        (
            {"workload": {"output_tokens": 5}, "run": {"endpoint": "/v1/embeddings"}},
            "workload.output_tokens: embeddings and scores have no tokens of their own",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(keys, words):
    with pytest.raises(UserError) as error:
        cells(config(**keys))
    assert words in str(error.value) and "\n" not in str(error.value)


LOADS = [
    {},
    {"think_s": 1},
    {"think_s": {"min": 1, "max": 3}},
    {"kind": "poisson", "rate": 2, "max_inflight": 4, "drain_s": 1},
    {"kind": "burst", "burst": 2, "every_s": 1},
    {"kind": "stages", "stages": [{"kind": "constant", "rate": 1, "rate_to": 2, "duration_s": 1}]},
    {"kind": "trace", "file": "a.csv", "columns": {"time": "t"}, "speed": 2},
]
WORKLOADS = [
    {},
    {"kind": "synthetic", "prompt_tokens": {"distribution": "uniform", "min": 2, "max": 9}},
    {"kind": "shared_prefix", "prompt_tokens": 600, "output_tokens": 3},
    {"kind": "depth", "depth": 0, "prompt_tokens": 64},
    {"kind": "conversation", "turns": 2, "think_s": 1, "system": ""},
    {"kind": "conversation", "think_s": {"distribution": "lognormal", "mean": 2, "std": 3}},
    {"kind": "conversation", "think_s": {"distribution": "empirical", "values": [0.0, 2.5]}},
    {"kind": "dataset", "file": "a.jsonl", "columns": {"prompt": "q"}, "replace": True},
    {"kind": "conversation", "file": "a.jsonl", "history": "dataset", "replace": True},
    {"kind": "replay", "file": "a.zip"},
]


@pytest.mark.parametrize(
    "kind, keys", [(Load, k) for k in LOADS] + [(Workload, k) for k in WORKLOADS]
)
def test_what_a_run_records_is_read_again(kind, keys):
    section = kind.model_validate(keys)
    assert kind.model_validate(json.loads(json.dumps(section.model_dump()))) == section


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_plan_is_told_in_words(load, workload):
    sweep = config(load=load, workload=workload)
    assert load_words(sweep).startswith(
        "An open" if load.get("rate") or "kind" in load else "A closed"
    )
    assert prompt_words(sweep)


def test_a_missing_file_is_one_sentence():
    sweep = config(load={"kind": "trace", "file": "nowhere.csv"})
    with pytest.raises(UserError, match=r"load\.file: nowhere\.csv is not there"):
        _ = settings(sweep, cells(sweep)[0], 1).files


def patterns(schema):
    """All patterns of a JSON Schema, those of keys too."""
    if isinstance(schema, dict):
        if isinstance(own := schema.get("pattern"), str):
            yield own
        yield from schema.get("patternProperties", {})
    if isinstance(schema, dict | list):
        for part in schema.values() if isinstance(schema, dict) else schema:
            yield from patterns(part)


def test_each_pattern_is_explained_in_words():
    """A regular expression is no answer to somebody who wrote a model's name with a colon."""
    every = {*patterns(Config.model_json_schema())}
    own = {one for one in every if one != types._VARIABLE.pattern}  # explained by its validator
    assert own == {*types.EXPECTED}
    with pytest.raises(UserError, match=r"models: expected a name of letters, .* not 'Qwen/Q:4'"):
        parse_config({"models": {"Qwen/Q:4": {}}})
    with pytest.raises(UserError, match=r"run\.endpoint: expected a path that begins with /"):
        config(run={"endpoint": "v1/completions"})
