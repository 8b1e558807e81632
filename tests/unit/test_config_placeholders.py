"""Placeholders in `server.command`: what they are filled with, and which names an axis may have."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.axes import cell_key
from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.sections.placeholders import fill, fill_some, placeholders
from mls.config.settings import settings
from mls.core.errors import UserError

NAMES = st.sampled_from(["model", "port", "seqs", "a_1"])
PARTS = st.lists(st.tuples(st.text(), st.none() | NAMES))


def template(parts: list[tuple[str, str | None]]) -> str:
    return "".join(
        text.replace("{", "{{").replace("}", "}}") + ("" if name is None else f"{{{name}}}")
        for text, name in parts
    )


@given(st.lists(PARTS), st.dictionaries(NAMES, st.text()))
def test_each_placeholder_has_its_value_and_all_else_is_literal(
    words: list[list[tuple[str, str | None]]], values: dict[str, str]
) -> None:
    all_values = dict.fromkeys(["model", "port", "seqs", "a_1"], "{else}") | values
    expected = [
        "".join(text + ("" if name is None else all_values[name]) for text, name in parts)
        for parts in words
    ]
    texts = [template(parts) for parts in words]
    assert fill(texts, all_values) == expected
    # in two steps it is the same, whatever braces the values have
    assert fill(fill_some(texts, values), all_values) == expected


@given(st.text())
def test_any_word_is_read_or_refused(word: str) -> None:
    try:
        names = placeholders([word])
    except ValueError as error:
        assert "literal ones are {{ and }}" in str(error)
    else:
        assert fill([word], dict.fromkeys(names, "")) is not None


@pytest.mark.parametrize("word", ["{", "}", "{}", '{"a": 1}', "{a.b}", "{a[0]}", "{a!r}", "{a:>3}"])
def test_a_brace_of_no_placeholder(word: str) -> None:
    with pytest.raises(UserError, match=r"server\.command: expected a placeholder such as {port}"):
        sweep(command=["serve", "{port}", word])


def sweep(axes: dict[str, list[Any]] | None = None, **server: Any) -> list[Any]:
    """The settings of all cells of a config whose command has `{seqs}`, unless it is another."""
    command = ["serve", "{model}", "--port", "{port}", "--seqs", "{seqs}"]
    config = parse_config(
        {
            "models": {"m": {"path": "m"}},
            "server": {"engine": "command", "command": command} | server,
            "sweep": {"seqs": [4, 16]} if axes is None else axes,
        }
    )
    return [settings(config, cell, 1) for cell in cells(config)]


def test_an_axis_is_a_word_of_the_command_and_of_the_path() -> None:
    points = sweep({"seqs": [4, "x{y}"], "inflight": [1]})
    assert [fill(p.server.command, {"model": "m", "port": 1})[-1] for p in points] == [
        "4",
        "x{y}",
    ]
    assert cell_key(points[0].cell) == "model~m/inflight~1/ranks~2/seqs~4"


def test_a_key_is_swept_by_its_placeholder() -> None:
    points = sweep({"parallel": [1, 2]}, command=["serve", "{port}", "{parallel}"])
    assert [point.server.parallel for point in points] == [1, 2]


@pytest.mark.parametrize(
    ("axes", "server", "words"),
    [
        ({}, {}, "server.command: {seqs} is no placeholder"),
        ({"seqs": [1]}, {"command": ["a", "{port}", "{seqs}", "{sesq}"]}, "did you mean 'seqs'"),
        ({"seq": [1]}, {}, "sweep.seq: not a run parameter (did you mean 'seqs'?)"),
        ({"seqs": [True]}, {}, "sweep.seqs: expected text or numbers for {seqs}"),
        ({"seqs": []}, {}, "sweep.seqs: expected at least one value"),
        ({"count": [1]}, {"command": ["a", "{port}", "{count}"]}, "sweep.count: this name means"),
        ({"seed": [1]}, {"command": ["a", "{port}", "{seed}"]}, "sweep.seed: this name means"),
        ({"port": [1]}, {"command": ["a", "{port}"]}, "sweep.port: this name means"),
        ({"inflight": [1]}, {"command": ["a", "{port}", "{inflight}"]}, "{inflight} is no placeh"),
        ({"parallel": [1, 2]}, {"command": ["a", "{port}"]}, "`parallel` is set, and `command`"),
        ({}, {"command": ["a", "{port}"], "ctx": 512}, "`ctx` is set, and `command` passes it on"),
        ({}, {"command": ["a"]}, "`command` must have {port}"),
        ({}, {"command": ["a"], "port": 1, "fleet": 2}, "`command` must have {port}"),
        ({}, {"command": []}, "`command` must be set with `engine: command`"),
        ({}, {"gpu_layers": -1}, "gpu_layers goes with engine xllamacpp or llama-server, not with"),
        ({}, {"extra_args": ["a"]}, "extra_args goes with engine xllamacpp or llama-server"),
        ({}, {"engine": "xllamacpp"}, "command goes with engine command, not with engine xllama"),
        ({}, {"engine": "xllamacpp", "command": [], "ready": "/v1/models"}, "ready goes with eng"),
        ({}, {"ready": "health"}, "server.ready"),
        ({}, {"environment": {"HF_TOKEN": "s3cret"}}, "server.environment: the value of HF_TOKEN"),
        ({}, {"environment": {"OTHER": "sk-s3cret000"}}, "the value of OTHER would be stored"),
        ({}, {"command": ["a", "{port}", "--api-key", "s3cret"]}, "server.command: a key on a com"),
        ({}, {"command": ["a", "{port}", "--api-key=s3cret"]}, "server.command: a key on a command"),
    ],
)  # fmt: skip
def test_what_is_refused(axes: dict[str, list[Any]], server: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)) as error:
        sweep(axes, **server)
    assert "s3cret" not in str(error.value)


def test_variables_that_only_look_like_secrets() -> None:
    environment = {"TOKENIZERS_PARALLELISM": "false", "MAX_TOKENS": "1"}
    (point,) = sweep({"seqs": [1]}, environment=environment)
    assert point.server.environment == environment


def test_an_axis_must_be_in_the_command_of_every_model() -> None:
    server = {"engine": "command", "command": ["a", "{port}", "{seqs}"]}
    other = {"path": "n", "server": {"command": ["b", "{port}"]}}
    data = {"models": {"m": {"path": "m"}, "n": other}, "server": server}
    with pytest.raises(UserError, match=r"sweep\.seqs: neither a key nor .* server.command of n"):
        cells(parse_config(data | {"sweep": {"model": ["m", "n"], "seqs": [1]}}))


def test_a_fixed_port_needs_no_placeholder() -> None:
    assert sweep({}, command=["serve"], port=8000)[0].server.port == 8000
