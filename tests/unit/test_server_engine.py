"""How engines are started: threads, slots, keys."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import xllamacpp

from mls.model.config import Server
from mls.model.errors import UserError
from mls.server.engine import engine
from mls.server.xllamacpp_engine import assign

MODEL = Path("/models/m.gguf")


@pytest.fixture
def llama_server(tmp_path: Path) -> str:
    binary = tmp_path / "llama-server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    return str(binary)


def test_threads_of_the_rule_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    env = engine(Server(), MODEL, "m", 1).env
    assert "OMP_NUM_THREADS" not in env
    assert env["SOMETHING_ELSE"] == "1"


@pytest.mark.parametrize("kind", ["xllamacpp", "llama-server"])
def test_the_key_is_in_no_command_line(
    kind: str, llama_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "very-secret")
    server = Server.model_validate(
        {"engine": kind, "binary": llama_server, "api_key_env": "MY_KEY"}
    )
    what = engine(server, MODEL, "m", 1)
    assert "very-secret" not in " ".join(what.argv)
    if kind == "xllamacpp":
        assert json.loads(what.stdin)["attributes"]["api_keys"] == ["very-secret"]
    else:
        assert what.env["LLAMA_API_KEY"] == "very-secret"


def test_llama_server_command_line(llama_server: str) -> None:
    server = Server(
        engine="llama-server",
        binary=llama_server,
        parallel=3,
        ctx=1536,
        gpu_layers=-1,
        threads=5,
        extra_args=["--flash-attn", "on"],
    )
    argv = engine(server, MODEL, "name", 4321).argv
    options = dict(itertools.pairwise(argv))
    assert argv[0] == llama_server
    expected = {
        "--model": str(MODEL),
        "--alias": "name",
        "--host": "127.0.0.1",
        "--port": "4321",
        "--parallel": "3",
        "--ctx-size": "1536",
        "--threads": "5",
        "--flash-attn": "on",
    }
    assert expected.items() <= options.items()
    assert int(options["--n-gpu-layers"]) > 500


def test_missing_binary() -> None:
    server = Server(engine="llama-server", binary="/nowhere/llama-server")
    with pytest.raises(UserError, match=r"server\.binary: /nowhere/llama-server"):
        engine(server, MODEL, "m", 1)


def test_every_attribute_that_is_set_exists_in_the_real_engine() -> None:
    parameters = xllamacpp.CommonParams()
    given = json.loads(engine(Server(parallel=3, ctx=999, threads=7), MODEL, "m", 5).stdin)
    for name, value in given["attributes"].items():
        assign(parameters, name, value)
    assert (parameters.n_parallel, parameters.n_ctx, parameters.port) == (3, 999, 5)
    assert parameters.cpuparams.n_threads == 7
    assert parameters.model.path == str(MODEL)
    assert parameters.model_alias == {"m"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("n_batch", "64", 64), ("use_jinja", "false", False), ("rope_freq_base", "1.5", 1.5)],
)
def test_extra_args_take_the_attributes_type(name: str, text: str, value: object) -> None:
    parameters = xllamacpp.CommonParams()
    assign(parameters, name, text, from_text=True)
    assert getattr(parameters, name) == value


def test_nested_extra_args() -> None:
    parameters = xllamacpp.CommonParams()
    assign(parameters, "cpuparams.n_threads", "3", from_text=True)
    assert parameters.cpuparams.n_threads == 3


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("n_bach", "64", "did you mean 'n_batch'"),
        ("cpuparams.n_thread", "1", "did you mean 'n_threads'"),
        ("n_batch", "many", "type int"),
        ("use_jinja", "perhaps", "true or false"),
        ("n_batch", "", "type int"),
    ],
)
def test_wrong_extra_args(name: str, text: str, words: str) -> None:
    with pytest.raises(UserError, match=r"server\.extra_args") as caught:
        assign(xllamacpp.CommonParams(), name, text, from_text=True)
    assert words in str(caught.value)
