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
from mls.server.weights.gguf import read_gguf
from mls.server.weights.models import describe_model, fetch, load_descriptor


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
