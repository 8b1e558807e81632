"""Model files: their sources, and the facts in their headers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.gguf_files import write_gguf

from mls.config.config import ModelSource
from mls.config.parse import parse_config
from mls.core.errors import UserError
from mls.server.weights.description import load_descriptor
from mls.server.weights.gguf import read_gguf
from mls.server.weights.model_files import local_sha256
from mls.server.weights.models import describe_model, fetch


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real GGUF file with a vocabulary."""
    return write_gguf(tmp_path_factory.mktemp("gguf"), "tiny")[0]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_facts_of_the_real_model(smollm2: Path) -> None:
    facts = read_gguf([smollm2])
    assert facts.architecture == "llama"
    assert facts.n_params == 134_515_008
    assert facts.quantization == "Q4_1"
    assert facts.context_length == 8192
    assert facts.chat_template


def test_facts_stand_after_arrays_of_every_kind(tiny_gguf: Path) -> None:
    facts = read_gguf([tiny_gguf])
    assert facts.model_name == "Tiny"
    assert facts.n_params == 8 * 32
    assert facts.quantization == "F16"
    assert facts.chat_template


def test_a_path_is_used_in_place(tiny_gguf: Path, tmp_path: Path) -> None:
    model = fetch("tiny", ModelSource(path=str(tiny_gguf)), tmp_path)
    assert model.path == str(tiny_gguf)
    assert model.sha256 == sha256(tiny_gguf)
    assert list(tmp_path.iterdir()) == []


def test_a_url_is_fetched_once(
    tiny_gguf: Path, tmp_path: Path, make_server: Any, reply: Any
) -> None:
    server = make_server({"/m.gguf": reply(tiny_gguf.read_bytes())})
    source = ModelSource(url=f"{server.url}/m.gguf")
    first = fetch("tiny", source, tmp_path)
    assert Path(first.path).read_bytes() == tiny_gguf.read_bytes()
    assert fetch("tiny", source, tmp_path) == first
    assert len(server.seen) == 1


def test_another_source_is_fetched_again(
    tiny_gguf: Path, tmp_path: Path, make_server: Any, reply: Any
) -> None:
    server = make_server({p: reply(tiny_gguf.read_bytes()) for p in ("/a", "/b")})
    fetch("tiny", ModelSource(url=f"{server.url}/a"), tmp_path)
    fetch("tiny", ModelSource(url=f"{server.url}/b"), tmp_path)
    assert [request.path for request in server.seen] == ["/a", "/b"]


def test_a_damaged_copy_is_fetched_again(
    tiny_gguf: Path, tmp_path: Path, make_server: Any, reply: Any
) -> None:
    server = make_server({"/m": reply(tiny_gguf.read_bytes())})
    for source in (
        ModelSource(url=f"{server.url}/m"),
        ModelSource(url=f"{server.url}/m", sha256=sha256(tiny_gguf)),
    ):
        copy = Path(fetch("tiny", source, tmp_path).path)
        copy.write_bytes(tiny_gguf.read_bytes()[:-1] + b"x")
        assert fetch("tiny", source, tmp_path).sha256 == sha256(tiny_gguf)


def test_hub_files_are_joined_in_order_with_the_users_token(
    tiny_gguf: Path,
    tmp_path: Path,
    make_server: Any,
    reply: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = tiny_gguf.read_bytes()
    server = make_server(
        {
            "/me/m/resolve/main/a": reply(whole[:100]),
            "/me/m/resolve/main/b": reply(whole[100:]),
        }
    )
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hub-token")
    model = fetch("tiny", ModelSource(hub_repo="me/m", file=["a", "b"]), tmp_path)
    assert model.sha256 == sha256(tiny_gguf)
    assert {request.headers["Authorization"] for request in server.seen} == {"Bearer hub-token"}
    assert "hub-token" not in model.model_dump_json()


def test_a_description_comes_back_and_notices_a_changed_file(
    tiny_gguf: Path, tmp_path: Path
) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(tiny_gguf.read_bytes())
    config = parse_config({"models": {"tiny": {"path": str(model)}}})
    descriptor = tmp_path / "tiny.json"
    descriptor.write_text(json.dumps(describe_model("tiny", config, tmp_path)))
    assert load_descriptor(descriptor).path == str(model)
    model.write_bytes(b"GGUF")
    with pytest.raises(UserError, match="has changed"):
        load_descriptor(descriptor)


def test_a_running_server_needs_no_file(tmp_path: Path) -> None:
    config = parse_config({"models": {"m": {}}, "server": {"url": "http://127.0.0.1:8090"}})
    assert describe_model("m", config, tmp_path)["path"] is None


def test_a_managed_server_needs_one(tmp_path: Path) -> None:
    config = parse_config({"models": {"m": {}}})
    with pytest.raises(UserError, match=r"models\.m: give one of package, path"):
        describe_model("m", config, tmp_path)


def of_any_kind(path: Path, **server: Any) -> Any:
    keys = {"engine": "command", "command": ["serve", "{model}", "{port}"]} | server
    return parse_config({"models": {"m": {"path": str(path)}}, "server": keys})


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "b" / "__pycache__").mkdir(parents=True)
    code = "b/__pycache__/code.pyc"
    for name, text in {
        "z.bin": "1",
        "a.bin": "22",
        "b/c.bin": "333",
        ".cache": "4",
        code: "5",
    }.items():
        (folder / name).write_text(text)
    return folder


def test_a_folder_is_described_by_its_files_in_order(model_folder: Path, tmp_path: Path) -> None:
    description = describe_model("m", of_any_kind(model_folder), tmp_path)
    assert (description["path"], description["size"]) == (str(model_folder), 6)
    assert description["sha256"] == hashlib.sha256(b"223331").hexdigest()
    assert [Path(part["path"]).name for part in description["parts"]] == ["a.bin", "c.bin", "z.bin"]
    assert description["gguf"] is None
    path = tmp_path / "m.json"
    path.write_text(json.dumps(description))
    assert load_descriptor(path).path == str(model_folder)
    assert local_sha256(str(model_folder), path) == [p["sha256"] for p in description["parts"]]


@pytest.mark.parametrize(("name", "text"), [("a.bin", "changed"), ("new.bin", "new")])
def test_a_folder_that_has_changed(
    model_folder: Path, tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(describe_model("m", of_any_kind(model_folder), tmp_path)))
    before = local_sha256(str(model_folder), path)
    (model_folder / name).write_text(text)
    assert local_sha256(str(model_folder), path) != before
    with pytest.raises(UserError, match=f"{name} is missing or has changed"):
        load_descriptor(path)


def test_a_folder_that_is_gone_leaves_the_results(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(describe_model("m", of_any_kind(model_folder), tmp_path)))
    before = local_sha256(str(model_folder), path)
    model_folder.rename(tmp_path / "elsewhere")
    assert local_sha256(str(model_folder), path) == before


def test_a_file_of_another_format(tmp_path: Path, tiny_gguf: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_text("weights")
    description = describe_model("m", of_any_kind(weights), tmp_path)
    assert (description["gguf"], description["sha256"]) == (None, sha256(weights))
    assert describe_model("m", of_any_kind(tiny_gguf), tmp_path)["gguf"]["model_name"] == "Tiny"


@pytest.mark.parametrize("name", ["empty", "none"])
def test_no_model_at_a_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=rf"models\.m\.path: .*{name} .*; correct the path"):
        describe_model("m", of_any_kind(tmp_path / name), tmp_path)


def test_a_folder_is_no_model_of_llama_cpp(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Model file .*model can.t be read: Is a directory"):
        describe_model("m", parse_config({"models": {"m": {"path": str(model_folder)}}}), tmp_path)
