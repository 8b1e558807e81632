"""The start of engines: threads, slots, keys."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import get_args

import pytest
import xllamacpp
import yaml

from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.sections.server import CacheType, Server
from mls.config.settings import settings
from mls.core.digest import file_sha256
from mls.core.errors import UserError
from mls.server.engine.command import engine
from mls.server.engine.facts import devices_in_log, engine_facts, with_version
from mls.server.engine.placement import Place
from mls.server.engine.profiler import profiler
from mls.server.engine.xllamacpp import assign

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
    start = engine(server, MODEL, "m", 1)
    assert "very-secret" not in " ".join(start.argv)
    if kind == "xllamacpp":
        assert json.loads(start.stdin)["attributes"]["api_keys"] == ["very-secret"]
    else:
        assert start.env["LLAMA_API_KEY"] == "very-secret"


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


def test_every_engine_listens_where_it_is_told(llama_server: str) -> None:
    for host, address in (({}, "127.0.0.1"), ({"host": "10.0.0.1"}, "10.0.0.1")):
        argv = engine(
            Server(engine="llama-server", binary=llama_server, **host), MODEL, "m", 1
        ).argv
        assert argv[argv.index("--host") + 1] == address
        message = json.loads(engine(Server(**host), MODEL, "m", 1).stdin)
        assert message["attributes"]["hostnames"] == [address]


def test_missing_binary() -> None:
    server = Server(engine="llama-server", binary="/nowhere/llama-server")
    with pytest.raises(UserError, match=r"server\.binary: /nowhere/llama-server"):
        engine(server, MODEL, "m", 1)


def test_every_attribute_that_is_set_exists_in_the_real_engine() -> None:
    parameters = xllamacpp.CommonParams()
    message = json.loads(engine(Server(parallel=3, ctx=999, threads=7), MODEL, "m", 5).stdin)
    for name, value in message["attributes"].items():
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
    with pytest.raises(UserError, match=r"server\.extra_args") as error:
        assign(xllamacpp.CommonParams(), name, text, from_text=True)
    assert words in str(error.value)


ON_CARDS = Server(
    engine="llama-server",
    binary="llama-server",
    gpu_layers=-1,
    tensor_split="3,1",
    flash_attn="on",
    cache_type_k="q8_0",
    cache_type_v="q4_0",
)


def test_llama_server_on_cards(llama_server: str) -> None:
    server = ON_CARDS.model_copy(update={"binary": llama_server})
    options = dict(itertools.pairwise(engine(server, MODEL, "m", 1).argv))
    assert {
        "--tensor-split": "3,1",
        "--flash-attn": "on",
        "--cache-type-k": "q8_0",
        "--cache-type-v": "q4_0",
    }.items() <= options.items()


def test_the_embedded_engine_on_cards() -> None:
    server = ON_CARDS.model_copy(update={"engine": "xllamacpp"})
    parameters = xllamacpp.CommonParams()
    for name, value in json.loads(engine(server, MODEL, "m", 1).stdin)["attributes"].items():
        assign(parameters, name, value)
    assert list(parameters.tensor_split[:3]) == [3.0, 1.0, 0.0]
    assert (
        parameters.flash_attn_type == xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    )
    assert parameters.cache_type_k == xllamacpp.ggml_type.GGML_TYPE_Q8_0
    assert parameters.cache_type_v == xllamacpp.ggml_type.GGML_TYPE_Q4_0


@pytest.mark.parametrize("kind", get_args(CacheType))
def test_the_embedded_engine_knows_every_kv_type(kind: str) -> None:
    assert hasattr(xllamacpp.ggml_type, f"GGML_TYPE_{kind.upper()}")


def test_what_yaml_reads_as_booleans_are_words_again() -> None:
    text = "models: {m: {path: m.gguf}}\nserver: {flash_attn: off}\nrun: {cuda_post: on}\n"
    config = parse_config(yaml.safe_load(text + "sweep: {flash_attn: [on, off, auto]}"))
    assert (config.server.flash_attn, config.run.cuda_post) == ("off", "on")
    assert [cell["flash_attn"] for cell in cells(config)] == ["on", "off", "auto"]
    assert settings(config, cells(config)[1], 1).server.flash_attn == "off"


@pytest.mark.parametrize("split", ["", "1,", "a,b", "1;2", "-1,2"])
def test_wrong_tensor_splits(split: str) -> None:
    with pytest.raises(UserError, match=r"server\.tensor_split"):
        parse_config({"models": {"m": {"path": "m"}}, "server": {"tensor_split": split}})


def test_a_profile_is_skipped_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert profiler(Server(), tmp_path / "server.log").note is None
    for name in ("nsys", "ncu"):
        server = Server.model_validate({"profile": name})
        profile = profiler(server, tmp_path / "server.log")
        assert not profile.runs and name in str(profile.note) and "not found" in str(profile.note)
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        profile = profiler(server, tmp_path / "server.log")
        assert profile.argv[0] == str(program)
        assert profile.argv[-1] == profile.note == str(tmp_path / f"server.log.{name}-rep")


def of_any_kind(**keys: object) -> Server:
    program = {"engine": "command", "command": ["sh", "{model}", "{name}", "{host}:{port}"]}
    return Server.model_validate(program | keys)


def test_a_command_of_any_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "very-secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    server = of_any_kind(api_key_env="MY_KEY", environment={"A": "{port}", "OMP_NUM_THREADS": "3"})
    start = engine(server, MODEL, "alias", 4321, Place(card="GPU-a"))
    message = json.loads(start.stdin)
    program = shutil.which("sh")
    assert message["argv"] == start.server_argv == [program, str(MODEL), "alias", "127.0.0.1:4321"]
    env = message["env"]
    assert (env["A"], env["OMP_NUM_THREADS"], env["CUDA_VISIBLE_DEVICES"]) == (
        "{port}",
        "3",
        "GPU-a",
    )
    assert {env[f"{name}_API_KEY"] for name in ("MLS", "LLAMA", "VLLM")} == {"very-secret"}
    # what its keeper needs to be imported is nothing to the server
    assert env.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
    assert "very-secret" not in " ".join([*start.argv, *start.server_argv])


def test_a_program_is_looked_for_where_its_environment_says(tmp_path: Path) -> None:
    program = tmp_path / "serve"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    server = of_any_kind(command=["serve", "{port}"], environment={"PATH": str(tmp_path)})
    assert engine(server, MODEL, "m", 1).server_argv == [str(program), "1"]
    with pytest.raises(UserError, match=r"server\.command: serve was not found"):
        engine(server.model_copy(update={"environment": {}}), MODEL, "m", 1)


def test_facts_of_any_server_are_its_own_words(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(LOG)  # of no llama.cpp, for all we know
    program = str(shutil.which("sh"))
    facts = engine_facts(of_any_kind(), [program, "model"], log, None)
    assert facts["command"] == [program, "model"]
    assert (facts["binary"], facts["sha256"]) == (program, file_sha256(Path(program)))
    assert facts["version"] is facts["devices"] is facts["offloaded_layers"] is None
    assert with_version(facts, {"build": "0.32.0"})["version"] == "0.32.0"
    assert with_version(facts, {"error": "gone"})["version"] is None


LOG = """\
ggml_cuda_init: found 1 CUDA devices (Total VRAM: 143156 MiB):
  Device 0: NVIDIA H200, compute capability 9.0, VMM: yes, VRAM: 143156 MiB
load_tensors: offloading 30 repeating layers to GPU
load_tensors: offloaded 31/31 layers to GPU
"""
USING = "llama_model_load_from_file_impl: using device CUDA0 (NVIDIA H200) (0000:04:00.0) - 142 MiB free\n"


@pytest.mark.parametrize(
    ("log", "devices", "layers"),
    [
        (LOG, ["NVIDIA H200, compute capability 9.0"], "31/31"),
        (LOG + USING, ["CUDA0: NVIDIA H200"], "31/31"),
        ("build: 1 (abc)\n", [], None),
    ],
)
def test_devices_by_the_engines_log(log: str, devices: list[str], layers: str | None) -> None:
    assert devices_in_log(log) == {"devices": devices, "offloaded_layers": layers}


def test_a_quiet_llama_server_is_asked_which_devices_there_are(tmp_path: Path) -> None:
    binary = tmp_path / "llama-server"
    binary.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "version: 11434 (abc)" >&2\n'
        '[ "$1" = --list-devices ] && printf "Available devices:\\n  CUDA0: NVIDIA H100 80GB HBM3 (81079 MiB, 80500 MiB free)\\n"\n'
    )
    binary.chmod(0o755)
    log = tmp_path / "server.log"
    log.write_text("main: server is listening\n")
    argv = [str(binary), "--port", "1"]
    server = Server(engine="llama-server", binary=str(binary), gpu_layers=-1)
    facts = engine_facts(server, argv, log, None)
    assert facts["version"] == "version: 11434 (abc)"
    assert facts["devices"] == ["CUDA0: NVIDIA H100 80GB HBM3"]
    # without layers on a card it uses none of the host's cards
    assert (
        engine_facts(server.model_copy(update={"gpu_layers": 0}), argv, log, None)["devices"] == []
    )


def test_a_server_with_one_card_names_no_other(tmp_path: Path) -> None:
    """Once two servers on two cards each named both, as the question left out their variables."""
    binary = tmp_path / "llama-server"
    binary.write_text('#!/bin/sh\necho "  CUDA0: card $CUDA_VISIBLE_DEVICES (1 MiB)"\n')
    binary.chmod(0o755)
    server = Server(engine="llama-server", binary=str(binary), gpu_layers=-1)
    for card in ("GPU-a", "GPU-b"):
        facts = engine_facts(server, [str(binary)], tmp_path / "no.log", None, Place(card=card))
        assert (facts["devices"], facts["card"]) == ([f"CUDA0: card {card}"], card)
